"""Batches without their rows: one, at once or when it has changed, and all of them in pages.

Nothing is submitted. How a batch stands is counted by the store in one question; once all its rows
have ended the counts are kept, by whoever sees that first, and it is not counted again.
"""

import contextlib
import dataclasses
import enum
from collections.abc import Sequence

from dshpc_server import clock, errors
from dshpc_server.batches import followed, progress, untold, watchers
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store import committer, port, records


class BatchState(enum.StrEnum):
    """Where a batch stands; the words are those of the contract."""

    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    FINISHED = "FINISHED"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """A batch and how its rows stand."""

    batch: records.BatchRecord
    tally: records.BatchTally

    @property
    def state(self) -> BatchState:
        """Where it stands."""
        if self.tally.is_final:
            return BatchState.FINISHED
        is_cancelled = self.batch.cancel_reason is not None
        return BatchState.CANCELLING if is_cancelled else BatchState.RUNNING

    @property
    def statistics(self) -> Statistics:
        """Counts over its rows."""
        return self.tally.statistics

    @property
    def position(self) -> untold.Position:
        """Where a stream would stand that has told all of this."""
        return untold.Position(changed_at=self.tally.changed_at, ended_rows=self.tally.ended_rows)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """What is waited for, and how long."""

    seconds: float
    """0: not at all."""
    known: untold.Position | None = None
    """Wait until the batch stands elsewhere; None: until it is FINISHED."""

    def is_over(self, found: Overview) -> bool:
        """Whether this is what is waited for."""
        if self.known is None:
            return found.tally.is_final
        return found.position != self.known


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some batches, the newest first."""

    batches: Sequence[Overview]
    last: records.ListPosition | None
    """What to go on after; None when these were the last."""


class Overviews:
    """Tells how batches stand."""

    def __init__(
        self, *, committer: committer.Committer, watchers: watchers.Watchers, clock: clock.Clock
    ) -> None:
        self._committer = committer
        self._watchers = watchers
        self._clock = clock

    async def one(self, batch_id: str, wait: Wait) -> Overview:
        """Read a batch when the wait is over. Raises NotFoundError."""
        found = await self._read(batch_id)
        if wait.seconds > 0 and not wait.is_over(found) and not found.tally.is_final:
            found = await self._changed(batch_id, wait)
        await self._keep([found])
        return found

    async def page(self, *, after: records.ListPosition | None, limit: int) -> Page:
        """Read a page."""
        found = await self._committer.read(lambda store: _read_page(store, after, limit + 1))
        shown = found[:limit]
        await self._keep(shown)
        has_more = len(found) > limit
        return Page(batches=shown, last=_position(shown[-1]) if has_more else None)

    async def _changed(self, batch_id: str, wait: Wait) -> Overview:
        """Wait for what is waited for; the batch as it is then, or when the time is over."""
        deadline = self._clock.monotonic() + wait.seconds
        with self._watchers.watch_batch(batch_id) as watch:
            batch = followed.FollowedBatch(
                batch_id,
                watch=watch,
                committer=self._committer,
                known=progress.BatchProgress(),
            )
            async for _ in batch.load():
                pass
            while True:
                # For the end it is enough to follow; that spares counting at every change.
                if wait.known is not None or batch.progress.is_finished:
                    found = await self._read(batch_id)
                    if wait.is_over(found):
                        return found
                left = max(0.0, deadline - self._clock.monotonic())
                if not await batch.wait(left):
                    return await self._read(batch_id)
                await batch.take()

    async def _read(self, batch_id: str) -> Overview:
        found = await self._committer.read(lambda store: _find(store, batch_id))
        if found is None:
            raise errors.NotFoundError("batch", batch_id)
        return found

    async def _keep(self, found: Sequence[Overview]) -> None:
        """Keep how those ended that were seen to have ended first."""
        ended = [each for each in found if each.tally.is_final and each.batch.tally is None]
        if not ended:
            return

        def work(writer: port.Writer) -> None:
            for each in ended:
                writer.keep_tally(each.batch.batch_id, each.tally)

        # Reading goes on where nothing can be written; then they are counted once more.
        with contextlib.suppress(errors.UnavailableError):
            await self._committer.write(work)


def _find(store: port.Reader, batch_id: str) -> Overview | None:
    batch = store.find_batch(batch_id)
    return None if batch is None else _with_tallies(store, [batch])[0]


def _read_page(
    store: port.Reader, after: records.ListPosition | None, limit: int
) -> Sequence[Overview]:
    return _with_tallies(store, store.find_batches(after=after, limit=limit))


def _with_tallies(store: port.Reader, batches: Sequence[records.BatchRecord]) -> Sequence[Overview]:
    counted = store.find_tallies([each.batch_id for each in batches if each.tally is None])
    return [Overview(batch=each, tally=each.tally or counted[each.batch_id]) for each in batches]


def _position(last: Overview) -> records.ListPosition:
    return records.ListPosition(at=last.batch.created_at, name=last.batch.batch_id)
