"""Arrays for the suite of Slurm clusters: scripts that say what they saw, and wait to be let go.

A script leaves its word in the array's folder, in files that `Folder` knows.
"""

import asyncio
import dataclasses
import pathlib
import secrets
from collections.abc import Callable, Sequence

from dshpc_server.engine.slurm.cluster import Array, Cluster, State, Task

DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_MEBIBYTE = 1024 * 1024

QUICK = 'echo done > "$1/done.$SLURM_ARRAY_TASK_ID"'
SEEING = """\
files=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2)
{ env; pwd; echo "$files"; } > "$1/new.$SLURM_ARRAY_TASK_ID"
mv "$1/new.$SLURM_ARRAY_TASK_ID" "$1/seen.$SLURM_ARRAY_TASK_ID"
"""
LINGERING = """\
trap 'echo > "$1/asked.$SLURM_ARRAY_TASK_ID"; exit 1' TERM
echo > "$1/running.$SLURM_ARRAY_TASK_ID"
until [ -e "$1/go" ]; do sleep 0.1; done
"""
STUBBORN = """\
trap '' TERM
echo > "$1/running.$SLURM_ARRAY_TASK_ID"
until [ -e "$1/go" ]; do sleep 0.1; done
"""
SIGNALLED = """\
(
    trap 'echo > "$1/child.$SLURM_ARRAY_TASK_ID"' URG
    until [ -e "$1/go" ]; do sleep 0.1; done
) &
trap 'echo "$2" >> "$1/told.$SLURM_ARRAY_TASK_ID"' URG
until [ -e "$1/go" ]; do sleep 0.1; done
wait
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """An array's folder: what its tasks said."""

    path: pathlib.Path

    def said(self, word: str) -> set[int]:
        """The tasks that left a file of this name."""
        return {int(path.suffix[1:]) for path in self.path.glob(f"{word}.*")}

    def text(self, name: str) -> str:
        return (self.path / name).read_text()

    def let_go(self) -> None:
        """Tasks that linger may end."""
        (self.path / "go").touch()


class Arrays:
    """Makes arrays in a folder, submits them to a cluster, and asks what became of them."""

    def __init__(self, cluster: Cluster, folder: pathlib.Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._ids: list[str] = []

    def make(
        self,
        script: str,
        *,
        tasks: int = 1,
        parallel: int = 0,
        cpus: int = 1,
        megabytes: int = 16,
        is_watched_late: bool = False,
        prefix: str = "dshpc-",
    ) -> Array:
        """An array of this script."""
        name = f"{prefix}{secrets.token_hex(8)}"
        folder = self._folder / name
        folder.mkdir(parents=True)
        path = folder / "script.sh"
        path.write_text(f"#!/bin/sh\n{script}")
        return Array(
            name=name,
            script=path,
            folder=folder,
            tasks=tasks,
            parallel=parallel,
            cpus=cpus,
            memory_bytes=megabytes * _MEBIBYTE,
            gpus=0,
            minutes=5,
            nice=0,
            is_watched_late=is_watched_late,
        )

    async def submit(self, array: Array) -> str:
        """Submit it; `end` cancels what is left of it."""
        job_id = await self._cluster.submit(array)
        self._ids.append(job_id)
        return job_id

    async def submit_waiting(self, *, tasks: int) -> tuple[Array, str]:
        """Submit an array that waits as a whole: another one fills all nodes."""
        filling, waiting = self.make(LINGERING, tasks=4, cpus=16), self.make(QUICK, tasks=tasks)
        await self.submit(filling)
        await self.until_said(filling, "running", range(4))
        return waiting, await self.submit(waiting)

    async def told(self, array: Array, *, ended: bool = True) -> dict[int, Task]:
        """What the cluster tells of its tasks, by index."""
        tasks = await self._cluster.tasks(ended=ended)
        return {task.index: task for task in tasks if task.name == array.name}

    async def states(self, array: Array, *, ended: bool = True) -> dict[int, State]:
        return {index: task.state for index, task in (await self.told(array, ended=ended)).items()}

    async def until_states(self, array: Array, wanted: Callable[[dict[int, State]], bool]) -> None:
        """Wait until its states are as wanted."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not wanted(await self.states(array)):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(_POLL_SECONDS)

    async def until_said(self, array: Array, word: str, indexes: Sequence[int]) -> None:
        """Wait until these tasks have left a file of this name."""
        folder = Folder(array.folder)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not folder.said(word) >= set(indexes):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(_POLL_SECONDS)

    async def end(self) -> None:
        """Cancel everything, and wait until it is gone."""
        await self._cluster.cancel(self._ids)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self._are_some_left():  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(_POLL_SECONDS)

    async def _are_some_left(self) -> bool:
        tasks = await self._cluster.tasks(ended=False)
        return any(task.job_id.partition("_")[0] in self._ids for task in tasks)
