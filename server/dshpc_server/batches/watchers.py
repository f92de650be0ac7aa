"""Watchers: whoever waits for jobs or batches is told of their changes, the last value of each.

Promise: between `watch` and its exit no job's newest state is missed; states that were superseded
before the watcher looked may be. A slow watcher costs one entry per job it watches, no more; who
watches a batch gets no results, which may be long, so that an entry is small.
For the event loop's thread alone.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Self

from dshpc_server.domain.job import AttemptKey
from dshpc_server.store.records import Attempt, ChangedRows


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RowsChanged:
    """Rows of a watched batch that changed themselves, and are to be read."""

    indexes: Collection[int] = ()
    is_any: bool = False
    """Whichever may have changed."""


class Watch:
    """One watcher's table of unread changes: the last value for each attempt."""

    def __init__(self, *, keeps_results: bool = True) -> None:
        self._keeps_results = keeps_results
        self._unread: dict[AttemptKey, Attempt] = {}
        self._unread_rows: set[int] = set()
        self._any_row = False
        self._changed = asyncio.Event()

    def put(self, attempt: Attempt) -> None:
        """Note a change; an unread older one of the same attempt is replaced, a newer one stays.

        What was read from the store may come after what has changed since.
        """
        unread = self._unread.get(attempt.key)
        if unread is not None and unread.revision > attempt.revision:
            return
        if attempt.result is not None and not self._keeps_results:
            attempt = dataclasses.replace(attempt, result=None)
        # Taken out first, so that the table stays in the order of the changes.
        self._unread.pop(attempt.key, None)
        self._unread[attempt.key] = attempt
        self._changed.set()

    def take(self) -> list[Attempt]:
        """Everything unread, in the order of the changes."""
        unread = list(self._unread.values())
        self._unread.clear()
        self._changed.clear()
        return unread

    def put_rows(self, indexes: Collection[int]) -> None:
        """Note that rows of the batch changed themselves; none named: whichever."""
        self._unread_rows.update(indexes)
        self._any_row = self._any_row or not indexes
        self._changed.set()

    def take_rows(self) -> RowsChanged:
        """The rows that changed themselves since this was asked last."""
        changed = RowsChanged(indexes=self._unread_rows, is_any=self._any_row)
        self._unread_rows, self._any_row = set(), False
        return changed

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until something is unread; False when nothing came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


class BatchWatch(Watch):
    """Who watches a batch: its rows, and the jobs that are added as they come to be known."""

    def __init__(self, watches: collections.defaultdict[str, set[Watch]]) -> None:
        super().__init__(keeps_results=False)
        self._watches = watches
        self._job_ids: set[str] = set()

    @classmethod
    def of_nothing(cls) -> Self:
        """A watch that is never told anything."""
        return cls(collections.defaultdict(set))

    def add(self, job_ids: Collection[str]) -> bool:
        """Be told of these jobs, too; answer whether any of them is new."""
        new = {job_id for job_id in job_ids if job_id not in self._job_ids}
        self._job_ids |= new
        for job_id in new:
            self._watches[job_id].add(self)
        return bool(new)

    def leave(self) -> None:
        """Be told of no job any more."""
        for job_id in self._job_ids:
            _leave(self._watches, job_id, self)
        self._job_ids.clear()


class Watchers:
    """Who watches which job, and which batch."""

    def __init__(self) -> None:
        self._watches: collections.defaultdict[str, set[Watch]] = collections.defaultdict(set)
        self._of_batches: collections.defaultdict[str, set[Watch]] = collections.defaultdict(set)

    @contextlib.contextmanager
    def watch(self, job_ids: Collection[str]) -> Iterator[Watch]:
        """Be told of these jobs' changes until the exit."""
        watch = Watch()
        for job_id in job_ids:
            self._watches[job_id].add(watch)
        try:
            yield watch
        finally:
            for job_id in job_ids:
                _leave(self._watches, job_id, watch)

    @contextlib.contextmanager
    def watch_batch(self, batch_id: str, job_ids: Collection[str] = ()) -> Iterator[BatchWatch]:
        """Be told of this batch's rows and of these jobs until the exit, without results."""
        watch = BatchWatch(self._watches)
        watch.add(job_ids)
        self._of_batches[batch_id].add(watch)
        try:
            yield watch
        finally:
            _leave(self._of_batches, batch_id, watch)
            watch.leave()

    def publish(self, changes: Sequence[Attempt]) -> None:
        """Tell the watchers how these attempts stand: changes in commit order, or what was read."""
        for attempt in changes:
            for watch in self._watches.get(attempt.key.job_id, ()):
                watch.put(attempt)

    def publish_rows(self, changed: Sequence[ChangedRows]) -> None:
        """Tell the watchers of these batches that rows changed themselves."""
        for each in changed:
            for watch in self._of_batches.get(each.batch_id, ()):
                watch.put_rows(each.indexes)

    @property
    def watched_batches(self) -> set[str]:
        """The batches that somebody watches."""
        return set(self._of_batches)

    def watched(self, job_ids: Collection[str] | None = None) -> set[str]:
        """Those of these jobs that somebody watches; None: of all."""
        if job_ids is None:
            return set(self._watches)
        return {job_id for job_id in job_ids if job_id in self._watches}

    @property
    def watched_jobs(self) -> int:
        """How many jobs somebody watches."""
        return len(self._watches)


def _leave(watches: dict[str, set[Watch]], name: str, watch: Watch) -> None:
    of_name = watches[name]
    of_name.discard(watch)
    if not of_name:
        del watches[name]
