"""Arrays for tests of Slurm's commands, and waiting for what becomes of them."""

import asyncio
import pathlib
import secrets
import time
from collections.abc import Callable, Sequence

from dshpc_server.engine.slurm.cluster import Array, Cluster, Task

_DEADLINE_SECONDS = 30.0
_POLL_SECONDS = 0.05
_MEMORY_BYTES = 16 * 1024 * 1024


def array(
    folder: pathlib.Path,
    script: str,
    *,
    tasks: int = 1,
    parallel: int = 0,
    cpus: int = 1,
    memory_bytes: int = _MEMORY_BYTES,
    gpus: int = 0,
    minutes: int = 1,
) -> Array:
    """An array that runs these lines of shell; `$1` is the folder."""
    path = folder / "script.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    return Array(
        name=f"dshpc-test-{secrets.token_hex(8)}",
        script=path,
        folder=folder,
        tasks=tasks,
        parallel=parallel,
        cpus=cpus,
        memory_bytes=memory_bytes,
        gpus=gpus,
        minutes=minutes,
        nice=0,
    )


async def told(
    commands: Cluster,
    name: str,
    holds: Callable[[Sequence[Task]], bool],
    *,
    ended: bool = True,
) -> Sequence[Task]:
    """Wait until what is told of an array, in the order of its tasks, is so; return it."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        everything = await commands.tasks(ended=ended)
        found = sorted((task for task in everything if task.name == name), key=lambda t: t.index)
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"told at last: {found}"
        await asyncio.sleep(_POLL_SECONDS)


async def accounted(
    commands: Cluster, name: str, holds: Callable[[Sequence[Task]], bool]
) -> Sequence[Task]:
    """The same of what accounting knows, which is late."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        found = sorted(await commands.accounted([name]), key=lambda row: row.index)
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"accounted for at last: {found}"
        await asyncio.sleep(_POLL_SECONDS)
