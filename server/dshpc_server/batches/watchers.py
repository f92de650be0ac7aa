"""Watchers: whoever waits for jobs is told of their changes, the last value first and last.

Promise: between `watch` and its exit no job's newest state is missed; states that were superseded
before the watcher looked may be. A slow watcher costs one entry per job it watches, no more.
For the event loop's thread alone.
"""

import asyncio
import collections
import contextlib
from collections.abc import Collection, Iterator, Sequence

from dshpc_server.domain.job import AttemptKey
from dshpc_server.store.records import Attempt


class Watch:
    """One watcher's table of unread changes: the last value for each attempt."""

    def __init__(self) -> None:
        self._unread: dict[AttemptKey, Attempt] = {}
        self._changed = asyncio.Event()

    def put(self, attempt: Attempt) -> None:
        """Note a change; an unread older one of the same attempt is replaced, a newer one stays.

        What was read from the store may come after what has changed since.
        """
        unread = self._unread.get(attempt.key)
        if unread is not None and unread.revision > attempt.revision:
            return
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

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until something is unread; False when nothing came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


class Watchers:
    """Who watches which job."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = collections.defaultdict(set)

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
                watches = self._watches[job_id]
                watches.discard(watch)
                if not watches:
                    del self._watches[job_id]

    def publish(self, changes: Sequence[Attempt]) -> None:
        """Tell the watchers how these attempts stand: changes in commit order, or what was read."""
        for attempt in changes:
            for watch in self._watches.get(attempt.key.job_id, ()):
                watch.put(attempt)

    def watched(self, job_ids: Collection[str] | None = None) -> set[str]:
        """Those of these jobs that somebody watches; None: of all."""
        if job_ids is None:
            return set(self._watches)
        return {job_id for job_id in job_ids if job_id in self._watches}

    @property
    def watched_jobs(self) -> int:
        """How many jobs somebody watches."""
        return len(self._watches)
