"""Stopping attempts that were submitted: a mark for their wrapper, and word to Slurm.

Promises: a task of one job is cancelled in Slurm, whatever it is doing; of a packed task only the
job that is meant is stopped: barred while it has not begun, else by its wrapper, which looks for
the mark each second. All that is to be stopped at a moment goes out in one call. What Slurm could
not be told is told again.

Slurm gives ids again after a crash of its controller, so what is cancelled are the ids that it has
just told under our names. The filter by name that scancel has is no help: with it, one task of an
array that waits stands for all of them.

Wrappers are not sent a signal to look at once: scancel delivers it to a task of an array that has
others waiting, does not believe it, and tries for a minute and a half.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NoReturn

from dshpc_server.engine.slurm import cluster, records, watching
from dshpc_server.engine.slurm.watching import Watched, WatchedArray

_RETRY_SECONDS = 1.0


class Stopping:
    """What is to be stopped and was not told to Slurm yet. For the event loop's thread alone."""

    def __init__(
        self,
        *,
        cluster: cluster.Cluster,
        watching: watching.Watching,
        on_told: Callable[[], None],
    ) -> None:
        """`on_told` is told when Slurm was."""
        self._cluster = cluster
        self._on_told = on_told
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
        # Of an array that nobody knows to be accepted yet, Slurm may be told of in a moment. What
        # is accepted while Slurm is asked may not be in its answer.
        told = [
            watched for array, watched in pairs if array.job_id is not None or _is_packed(watched)
        ]
        try:
            await self._cancel([pair for pair in pairs if not _is_packed(pair[1])])
        except cluster.UnreachableError:  # the one who looks tells the log
            return False
        for watched in told:
            self._waiting.pop(watched.name, None)
        return not self._waiting

    async def _cancel(self, pairs: Sequence[tuple[WatchedArray, Watched]]) -> None:
        """Cancel what Slurm has of these now, under our name: ids may be others' by now."""
        if not pairs:
            return
        told = await self._cluster.tasks(ended=False)
        ids = {(task.name, task.index): task.job_id for task in told}
        wanted = [
            (array.folder.name, watched.place.index) for array, watched in pairs if watched.place
        ]
        present = [ids[key] for key in wanted if key in ids]
        if present:
            await self._cluster.cancel(present)
        self._on_told()


def _is_packed(watched: Watched) -> bool:
    return watched.place is not None and watched.place.packing is not None


def _mark(pairs: Sequence[tuple[WatchedArray, Watched]]) -> None:
    for array, watched in pairs:
        if watched.place is None:
            continue
        array.folder.mark_cancelled(watched.place)
        if _is_packed(watched) and not watched.has_started:
            # Its task may wait for hours: it need not.
            with contextlib.suppress(OSError):
                if records.write_cancelled(watched.folder, watched.name):
                    array.folder.mark_ended(watched.place)
