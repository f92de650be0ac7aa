"""Simulating a batch: the two forms of the one use case, an answer and a stream of events.

Promises: the watch is set before the batch is accepted, so no change is missed; the events of a
stream are `Accepted`, then results as rows end, and `Closing` last; leaving early never cancels
jobs; what is only validated changes nothing and is not waited for.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

from dshpc_server import clock
from dshpc_server.batches import (
    acceptance,
    followed,
    progress,
    request,
    streaming,
    untold,
    watchers,
)
from dshpc_server.domain import statistics
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store import committer
from dshpc_server.store.records import Row

_MAX_AT_HAND_BYTES = 1024 * 1024
"""Results that are found are sent as they were found, up to this; others are read again when the
reader is ready for them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A batch as it stood when the wait ended."""

    batch_id: str
    rows: Sequence[Row] | None
    """None for those of a large batch: they are in the store."""
    statistics: Statistics


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """How long to wait."""

    until_finished: bool
    timeout_seconds: float | None
    """None: as long as it takes."""


class Simulation:
    """Resolves batches and follows them."""

    def __init__(
        self,
        *,
        acceptance: acceptance.Acceptance,
        committer: committer.Committer,
        watchers: watchers.Watchers,
        clock: clock.Clock,
    ) -> None:
        self._acceptance = acceptance
        self._committer = committer
        self._watchers = watchers
        self._clock = clock

    async def answer(self, asked: request.BatchRequest, wait: Wait) -> Answer:
        """Resolve a batch and wait as asked."""
        deadline = self._deadline(wait)
        if self._acceptance.is_large(asked):
            return await self._large_answer(asked, wait, deadline)
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept(
                asked, watching, is_watched=wait.until_finished
            )
            rows, counts = accepted.rows, accepted.progress.statistics()
            if accepted.watch is not None:
                batch = self._followed(accepted)
                changed = await self._changed(batch, deadline)
                now = {row.index: row for row in await batch.read_rows(changed)}
                if now:
                    rows = [now.get(row.index, row) for row in rows]
                    counts = _counted(rows)
        return Answer(batch_id=accepted.batch_id, rows=rows, statistics=counts)

    async def events(
        self,
        asked: request.BatchRequest,
        wait: Wait,
        reporting: streaming.Reporting,
        packing: streaming.Packing,
    ) -> AsyncGenerator[streaming.BatchEvent, None]:
        """Resolve a batch and tell its events. Close the iterator (`contextlib.aclosing`)."""
        deadline = self._deadline(wait)
        if self._acceptance.is_large(asked):
            events = self._large_events(asked, wait, reporting, packing)
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event
            return
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept(
                asked, watching, is_watched=wait.until_finished
            )
            batch_id, total_jobs = accepted.batch_id, len(accepted.rows)
            is_duplicate = accepted.is_duplicate
            is_waited_for = accepted.watch is not None
            if not is_waited_for:
                deadline = self._clock.monotonic()
            rows = untold.Untold()
            rows.note_all(
                # What is only validated changes nothing: its rows come in their order.
                (row.state.changed_at if batch_id else 0, row.index)
                for row in accepted.rows
                if not is_waited_for or reporting.tells(row.state)
            )
            batch = self._followed(accepted, rows)
            del accepted  # it holds results, which a slow reader is not to keep here
            yield streaming.Accepted(
                batch_id=batch_id,
                total_jobs=total_jobs,
                position=rows.position,
                duplicate_request=is_duplicate,
            )
            stream = streaming.Stream(
                batch, rows, reporting=reporting, packing=packing, clock=self._clock
            )
            async for event in stream.events(deadline):
                yield event
            yield streaming.Closing(statistics=batch.progress.statistics(), position=rows.position)

    async def _large_answer(
        self, asked: request.BatchRequest, wait: Wait, deadline: float | None
    ) -> Answer:
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept_large(asked, watching)
            batch_id, counts = accepted.batch_id, await accepted.until_shown()
            if wait.until_finished:
                watch = watching.enter_context(self._watchers.watch_batch(batch_id))
                batch = self._unknown(batch_id, watch)
                async for _ in batch.load():
                    pass
                await self._changed(batch, deadline)
                counts = batch.progress.statistics()
        return Answer(batch_id=batch_id, rows=None, statistics=counts)

    async def _large_events(
        self,
        asked: request.BatchRequest,
        wait: Wait,
        reporting: streaming.Reporting,
        packing: streaming.Packing,
    ) -> AsyncGenerator[streaming.BatchEvent, None]:
        """Tell the events of a large batch, of which nothing is at hand.

        It is told to be accepted when it is durable, and its rows once they are all looked up.
        """
        deadline = self._deadline(wait)
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept_large(asked, watching)
            batch_id = accepted.batch_id
            yield streaming.Accepted(
                batch_id=batch_id,
                total_jobs=accepted.total_jobs,
                position=untold.BEGINNING,
                duplicate_request=accepted.is_duplicate,
            )
            signs = _signs_until_shown(accepted, reporting.heartbeat_seconds)
            async with contextlib.aclosing(signs):
                async for sign in signs:
                    yield sign
            watch = watchers.BatchWatch.of_nothing()
            if wait.until_finished:
                watch = watching.enter_context(self._watchers.watch_batch(batch_id))
            else:
                deadline = self._clock.monotonic()
            batch = self._unknown(batch_id, watch)
            told = [
                (state.changed_at, state.index)
                async for states in batch.load()
                for state in states
                if not wait.until_finished or reporting.tells(state)
            ]
            rows = untold.Untold()
            rows.note_all(told)
            stream = streaming.Stream(
                batch, rows, reporting=reporting, packing=packing, clock=self._clock
            )
            async for event in stream.events(deadline):
                yield event
            yield streaming.Closing(statistics=batch.progress.statistics(), position=rows.position)

    def _unknown(self, batch_id: str, watch: watchers.BatchWatch) -> followed.FollowedBatch:
        """A batch of which everything is still to be read."""
        return followed.FollowedBatch(
            batch_id, watch=watch, committer=self._committer, known=progress.BatchProgress()
        )

    def _followed(
        self, accepted: acceptance.Accepted, told: untold.Untold | None = None
    ) -> followed.FollowedBatch:
        """The batch with those rows at hand that are told at once."""
        at_hand = [row for row in accepted.rows if told is not None and row.index in told]
        # What was only validated is nowhere else.
        if accepted.batch_id and sum(map(_size, at_hand)) > _MAX_AT_HAND_BYTES:
            at_hand = []
        return followed.FollowedBatch(
            accepted.batch_id,
            watch=accepted.watch or watchers.BatchWatch.of_nothing(),
            committer=self._committer,
            known=accepted.progress,
            at_hand=at_hand,
        )

    async def _changed(
        self, batch: followed.FollowedBatch, deadline: float | None
    ) -> Collection[int]:
        """Wait until all rows have ended, or the time is over; the rows that changed meanwhile."""
        changed: set[int] = set()
        while not batch.progress.is_finished and await batch.wait(self._left(deadline)):
            changed.update(state.index for state in await batch.take())
        return changed

    def _deadline(self, wait: Wait) -> float | None:
        if wait.timeout_seconds is None:
            return None
        return self._clock.monotonic() + wait.timeout_seconds

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._clock.monotonic())


async def _signs_until_shown(
    accepted: acceptance.AcceptedLarge, heartbeat_seconds: float
) -> AsyncGenerator[streaming.Bookmark, None]:
    """Tell signs of life until a batch is shown."""
    waiting = asyncio.create_task(accepted.until_shown())
    try:
        while not (await asyncio.wait([waiting], timeout=heartbeat_seconds))[0]:
            yield streaming.Bookmark(position=untold.BEGINNING)
        await waiting
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def _size(row: Row) -> int:
    result = None if row.attempt is None else row.attempt.result
    return len(row.head) + len(result or b"")


def _counted(rows: Iterable[Row]) -> Statistics:
    tally = statistics.Tally()
    tally.add_many((row.outcome, row.status) for row in rows)
    return tally.snapshot()
