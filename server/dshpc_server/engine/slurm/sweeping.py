"""Removing the folders of arrays that are over.

Promise: an array's folder goes only when Slurm, which answers, has nothing of that name any more in
its queue, nobody here watches anything of it, and it is older than any server's taking over. Its
attempts' records lie in their own folders, and stay.
"""

import asyncio
import os
import pathlib
import shutil
from collections.abc import Collection
from typing import NoReturn

import structlog

from dshpc_server import clock
from dshpc_server.engine.slurm import cluster, watching

INTERVAL_SECONDS = 600.0
YOUNGEST_SECONDS = 3600.0
"""A folder in which nothing has come or gone for so long is nobody's who begins with it now."""
_log = structlog.get_logger(__name__)


class Sweeping:
    """Clears the folder of all arrays."""

    def __init__(
        self,
        arrays_dir: pathlib.Path,
        *,
        prefix: str,
        cluster: cluster.Cluster,
        watching: watching.Watching,
        clock: clock.Clock,
    ) -> None:
        self._arrays_dir = arrays_dir
        self._prefix = prefix
        self._cluster = cluster
        self._watching = watching
        self._clock = clock

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.sweep()
            except OSError as error:  # another server sweeps, too; or the disk does not answer
                _log.warning("engine.not_swept", error=str(error))

    async def sweep(self) -> None:
        """Remove what is over, once."""
        try:
            told = await self._cluster.tasks(ended=False)
        except cluster.UnreachableError:
            return
        kept = {task.name for task in told}
        kept |= {array.folder.name for array in self._watching.arrays}
        removed = await asyncio.to_thread(self._remove_but, kept)
        if removed:
            _log.info("engine.arrays_removed", arrays=removed)

    def _remove_but(self, kept: Collection[str]) -> int:
        oldest = self._clock.now().timestamp() - YOUNGEST_SECONDS
        removed = 0
        for name in os.listdir(self._arrays_dir):  # noqa: PTH208 - names alone
            path = self._arrays_dir / name
            is_ours = name.startswith(self._prefix) and name not in kept
            if is_ours and _touched_at(path) < oldest:
                shutil.rmtree(path, ignore_errors=True)
                removed += 1
        return removed


def _touched_at(path: pathlib.Path) -> float:
    """When something last came into an array's folder, or it was made."""
    return max(
        (each.lstat().st_mtime for each in (path, path / "ended", path / "now") if each.exists()),
        default=0.0,
    )
