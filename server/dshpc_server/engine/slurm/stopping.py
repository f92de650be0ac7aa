"""Stopping attempts that were submitted: a mark for their wrapper, and word to Slurm.

Promises: a task of one job is cancelled in Slurm, whatever it is doing; of a packed task only the
job that is meant is stopped, by its wrapper, which is told to look at once. All that is to be
stopped at a moment goes out in one call. What Slurm could not be told is told again.
"""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from dshpc_server.engine.slurm import cluster, watching
from dshpc_server.engine.slurm.watching import Watched, WatchedArray

_RETRY_SECONDS = 1.0


class Stopping:
    """What is to be stopped and was not told to Slurm yet. For the event loop's thread alone."""

    def __init__(self, *, cluster: cluster.Cluster, watching: watching.Watching) -> None:
        self._cluster = cluster
        self._watching = watching
        self._waiting: dict[str, Watched] = {}
        self._news = asyncio.Event()

    def add(self, watched: Watched) -> None:
        """Have this one stopped; its end comes as those of others do."""
        self._waiting[watched.name] = watched
        self._news.set()

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self._stop_all():
                await asyncio.sleep(_RETRY_SECONDS)
                self._news.set()

    async def _stop_all(self) -> bool:
        """Stop what waits; whether all of it could be told."""
        pairs = []
        for name, watched in list(self._waiting.items()):
            array = self._watching.array_of(watched)
            if not self._watching.is_current(watched) or watched.has_ended:
                del self._waiting[name]
            elif array is not None:
                pairs.append((array, watched))
        await asyncio.to_thread(_mark, pairs)
        known = [pair for pair in pairs if pair[0].job_id is not None]
        try:
            await self._tell(known)
        except cluster.UnreachableError:  # the one who looks tells the log
            return False
        for _, watched in known:
            self._waiting.pop(watched.name, None)
        return not self._waiting

    async def _tell(self, pairs: Sequence[tuple[WatchedArray, Watched]]) -> None:
        alone = [pair for pair in pairs if not _is_packed(pair[1])]
        packed = [pair for pair in pairs if _is_packed(pair[1])]
        if alone:
            await self._cluster.cancel(watching.ids_of(alone))
        if packed:
            await self._cluster.signal(watching.ids_of(packed))


def _is_packed(watched: Watched) -> bool:
    return watched.place is not None and watched.place.packing is not None


def _mark(pairs: Sequence[tuple[WatchedArray, Watched]]) -> None:
    for array, watched in pairs:
        if watched.place is not None:
            array.folder.mark_cancelled(watched.place)
