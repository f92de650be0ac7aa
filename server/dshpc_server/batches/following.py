"""Following: what other servers do reaches whoever waits here, as if it had been done here.

Promises: a notice says which jobs to read, nothing more, so one that is late, repeated or joined
with others is harmless; no change is missed, for whenever notices may have been lost, and whenever
a write of ours has failed and may have been done all the same, everything that somebody waits for
is read again. One reading at a time: what is told meanwhile waits and is read together. Readers go
by an attempt's revision, so what was read before a change does not undo it.
"""

import asyncio
import contextlib
import functools
import types
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, Self

from dshpc_server import errors
from dshpc_server.batches import active, watchers
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import committer, port, records

JOBS_PER_READING = 500
"""Each reading is a transaction; others that ask are not to wait long for it."""
MANY_STRANGERS = 200
"""More jobs than these that nobody waits for are not read: the queue is looked at instead."""
RETRY_SECONDS = 0.5
"""Pause after the store was not available."""

Publish = Callable[[Sequence[records.Attempt]], None]


class Attempts(Protocol):
    """What has the attempts of this server; the dispatcher."""

    def wake(self) -> None:
        """Look at the queue."""
        ...

    async def cancel(self, keys: Collection[AttemptKey], reason: str) -> None:
        """Have these stopped."""
        ...

    async def check(self) -> None:
        """Compare what is known with the store."""
        ...


class Following:
    """Follows the store. An async context manager; inside it, one task calls `run`."""

    def __init__(
        self,
        *,
        store: port.Store,
        committer: committer.Committer,
        watchers: watchers.Watchers,
        active: active.ActiveAttempts,
        attempts: Attempts,
        publish: Publish,
    ) -> None:
        """`publish` is told how attempts stand, as it is told of our own commits."""
        self._store = store
        self._committer = committer
        self._watchers = watchers
        self._active = active
        self._attempts = attempts
        self._publish = publish
        self._told: set[str] = set()
        self._everything = False
        self._has_news = asyncio.Event()
        self._notices = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def tell(job_ids: Collection[str] | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.note, job_ids)

        def tell_batches(batch_ids: Collection[str]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.note_batches, batch_ids)

        self._notices.enter_context(self._store.follow(tell, tell_batches))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._notices.close)  # it waits for a thread

    def note(self, job_ids: Collection[str] | None = None) -> None:
        """Have these jobs read; None: whatever anybody waits for."""
        if job_ids is None:
            self._everything = True
        else:
            self._told.update(job_ids)
        self._has_news.set()

    def note_batches(self, batch_ids: Collection[str]) -> None:
        """Have whoever follows these batches read their rows."""
        self._watchers.publish_rows(
            [records.ChangedRows(batch_id=batch_id, indexes=()) for batch_id in batch_ids]
        )

    async def run(self) -> None:
        """Read what is told, until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            told, self._told = self._told, set()
            everything, self._everything = self._everything, False
            try:
                await self._read(None if everything else told)
            except errors.UnavailableError:  # the store tells the log itself
                await asyncio.sleep(RETRY_SECONDS)
                self.note(None if everything else told)

    async def _read(self, job_ids: Collection[str] | None) -> None:
        for some in _pieces(self._wanted(job_ids)):
            self._publish(await self._committer.read(functools.partial(_attempts, job_ids=some)))
        if job_ids is None:
            self.note_batches(self._watchers.watched_batches)
            await self._attempts.check()
        else:
            await self._stop_cancelled()

    def _wanted(self, job_ids: Collection[str] | None) -> Sequence[str]:
        """Who is to be read."""
        ours = {key.job_id for key in self._active.keys}
        if job_ids is None:
            return sorted(self._watchers.watched() | ours)
        known = self._watchers.watched(job_ids) | ours.intersection(job_ids)
        strangers = set(job_ids) - known
        if len(strangers) > MANY_STRANGERS:
            self._attempts.wake()
            return sorted(known)
        return sorted(known | strangers)  # these may have come into the queue

    async def _stop_cancelled(self) -> None:
        """Stop those of ours that somebody has cancelled at another server."""
        known = set(self._active.keys)
        found = await self._committer.read(lambda store: store.find_active())
        # Who was known and is not has ended since.
        ended = known.difference(self._active.keys)
        for each in found:
            key, reason = each.claim.key, each.cancel_reason
            is_news = key not in ended and self._active.cancel_reason(key) is None
            if reason is not None and is_news:
                self._active.cancel_own(key, reason)
                await self._attempts.cancel([key], reason)


def _attempts(store: port.Reader, job_ids: Sequence[str]) -> Sequence[records.Attempt]:
    return store.find_all_attempts(job_ids)


def _pieces(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(job_ids), JOBS_PER_READING):
        yield job_ids[start : start + JOBS_PER_READING]
