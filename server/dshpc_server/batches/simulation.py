"""Simulating a batch: the two forms of the one use case, an answer and a stream of events.

Promises: the watch is set before the batch is accepted, so no change is missed; the events of a
stream are `Accepted`, then results as rows end, and `Closing` last; leaving early never cancels
jobs; what is only validated changes nothing and is not waited for.
"""

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence

from dshpc_server import clock
from dshpc_server.batches import acceptance, progress, request, resolver, watchers
from dshpc_server.domain import job
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store.records import Row


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A batch as it stood when the wait ended."""

    batch_id: str
    rows: Sequence[Row]
    statistics: Statistics


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The batch is durable."""

    batch_id: str
    total_jobs: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Rows whose job has ended (or has changed), in that order."""

    rows: Sequence[Row]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Statistics on the way."""

    statistics: Statistics


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bookmark:
    """Nothing happened for a while."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """The statistics when the wait ended."""

    statistics: Statistics


BatchEvent = Accepted | Results | Progress | Bookmark | Closing


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """How long to wait."""

    until_finished: bool
    timeout_seconds: float | None
    """None: as long as it takes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reporting:
    """How a stream reports."""

    transitions: bool
    heartbeat_seconds: float
    statistics_seconds: float | None
    """None: no statistics on the way."""


class Simulation:
    """Resolves batches and follows them."""

    def __init__(
        self, *, resolver: resolver.Resolver, watchers: watchers.Watchers, clock: clock.Clock
    ) -> None:
        self._acceptance = acceptance.Acceptance(resolver=resolver, watchers=watchers)
        self._clock = clock

    async def answer(self, asked: request.BatchRequest, wait: Wait) -> Answer:
        """Resolve a batch and wait as asked."""
        deadline = self._deadline(wait)
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept(
                asked, watching, is_watched=wait.until_finished
            )
            state, watch = accepted.state, accepted.watch
            while watch and not state.is_finished and await watch.wait(self._left(deadline)):
                for attempt in watch.take():
                    state.apply(attempt)
        return Answer(batch_id=accepted.batch_id, rows=state.rows, statistics=state.statistics())

    async def events(
        self, asked: request.BatchRequest, wait: Wait, reporting: Reporting
    ) -> AsyncGenerator[BatchEvent, None]:
        """Resolve a batch and tell its events. Close the iterator (`contextlib.aclosing`)."""
        deadline = self._deadline(wait)
        with contextlib.ExitStack() as watching:
            accepted = await self._acceptance.accept(
                asked, watching, is_watched=wait.until_finished
            )
            state, watch = accepted.state, accepted.watch
            yield Accepted(batch_id=accepted.batch_id, total_jobs=len(state.rows))
            told = watch is None or reporting.transitions
            first = [row for row in state.rows if told or _has_ended(row)]
            if first:
                yield Results(rows=first)
            if watch is not None:
                follower = _Follower(state, watch, reporting, self._clock)
                async for event in follower.events(deadline):
                    yield event
            yield Closing(statistics=state.statistics())

    def _deadline(self, wait: Wait) -> float | None:
        if wait.timeout_seconds is None:
            return None
        return self._clock.monotonic() + wait.timeout_seconds

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._clock.monotonic())


class _Follower:
    """Tells what happens to the rows of one accepted batch until all have ended."""

    def __init__(
        self,
        state: progress.BatchProgress,
        watch: watchers.Watch,
        reporting: Reporting,
        clock: clock.Clock,
    ) -> None:
        self._state = state
        self._watch = watch
        self._reporting = reporting
        self._clock = clock
        now = clock.monotonic()
        self._heartbeat_due = now + reporting.heartbeat_seconds
        self._statistics_due = now + (reporting.statistics_seconds or 0.0)
        self._statistics_told = state.statistics()

    async def events(self, deadline: float | None) -> AsyncGenerator[BatchEvent, None]:
        while not self._state.is_finished:
            await self._watch.wait(self._until_next(deadline))
            now = self._clock.monotonic()
            changed = self._changed_rows()
            if changed:
                yield Results(rows=changed)
                self._heartbeat_due = now + self._reporting.heartbeat_seconds
            if self._statistics_are_due(now):
                yield Progress(statistics=self._statistics_told)
                self._heartbeat_due = now + self._reporting.heartbeat_seconds
            elif now >= self._heartbeat_due:
                yield Bookmark()
                self._heartbeat_due = now + self._reporting.heartbeat_seconds
            if deadline is not None and now >= deadline:
                return

    def _until_next(self, deadline: float | None) -> float:
        moments = [self._heartbeat_due]
        if deadline is not None:
            moments.append(deadline)
        if self._reporting.statistics_seconds is not None:
            moments.append(self._statistics_due)
        return max(0.0, min(moments) - self._clock.monotonic())

    def _changed_rows(self) -> list[Row]:
        return [
            row
            for attempt in self._watch.take()
            for row in self._state.apply(attempt)
            if self._reporting.transitions or _has_ended(row)
        ]

    def _statistics_are_due(self, now: float) -> bool:
        """Whether the interval is over and the counts have changed; remembers what is told."""
        interval = self._reporting.statistics_seconds
        if interval is None or now < self._statistics_due:
            return False
        self._statistics_due = now + interval
        present = self._state.statistics()
        if present == self._statistics_told:
            return False
        self._statistics_told = present
        return True


def _has_ended(row: Row) -> bool:
    return row.attempt is None or row.attempt.status in job.TERMINAL
