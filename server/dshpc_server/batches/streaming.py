"""A stream of a batch's events: rows as they end, statistics on the way, signs of life.

Promises: every row that ends is told, and of a row that changes several times while the reader is
busy at least the last; rows come in the order in which they came to be known; every event says
where the stream stands (`untold.Position`). No result is kept here: rows are read from the store
when the reader is ready for them, a few at a time, so that what a slow reader costs is bounded.
While the store is away a stream stays open; only one whose time is over meanwhile ends with that.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Sequence

from dshpc_server import clock, errors
from dshpc_server.batches import followed, results, untold
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store.records import Row, RowState

_FIRST_PIECE = 16
"""Rows read first; each piece is twice the one before while rows are short, up to the largest."""
_LARGEST_PIECE = 128
_PIECE_BYTES = 1024 * 1024
"""Pieces that come to more than this are followed by smaller ones."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The batch is durable."""

    batch_id: str
    total_jobs: int
    position: untold.Position
    duplicate_request: bool = False
    """It is that of an earlier request."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Rows that have ended (or have changed), in that order, encoded; for one message."""

    rows: Sequence[bytes]
    position: untold.Position


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Statistics on the way."""

    statistics: Statistics
    position: untold.Position


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bookmark:
    """Nothing happened for a while."""

    position: untold.Position


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """The statistics when the wait ended."""

    statistics: Statistics
    position: untold.Position


BatchEvent = Accepted | Results | Progress | Bookmark | Closing


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reporting:
    """How a stream reports."""

    transitions: bool
    heartbeat_seconds: float
    statistics_seconds: float | None
    """None: no statistics on the way."""

    def tells(self, state: RowState) -> bool:
        """Whether a row that has come to stand like this is told."""
        return self.transitions or state.has_ended


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """How rows become messages."""

    encode: Callable[[Row], bytes]
    rows_per_message: int
    max_bytes: int
    """A message ends before a row that would make it larger, but for its first."""
    in_thread: bool = False
    """Whether `encode` may read files."""


class _Group:
    """The rows of the next message, encoded."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._states: list[RowState] = []
        self._encoded: list[bytes] = []
        self._size = 0

    async def encoded(self, row: Row) -> bytes:
        """Encode a row."""
        # Most rows are a join of bytes; those that may read a file do so in a thread.
        if self._packing.in_thread:
            return await asyncio.to_thread(self._packing.encode, row)
        return self._packing.encode(row)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self._states

    @property
    def is_full(self) -> bool:
        """Whether no row can go into the same message."""
        return len(self._states) == self._packing.rows_per_message

    def has_room(self, encoded: bytes) -> bool:
        """Whether this row can go into the same message."""
        size = self._size + len(encoded) + results.FRAME_BYTES
        return not self._states or size <= self._packing.max_bytes

    def add(self, state: RowState, encoded: bytes) -> None:
        """Put a row in."""
        self._states.append(state)
        self._encoded.append(encoded)
        self._size += len(encoded) + results.FRAME_BYTES

    def take(self) -> tuple[Sequence[RowState], Sequence[bytes]]:
        """Take out what is in, and begin anew."""
        taken = self._states, self._encoded
        self._states, self._encoded, self._size = [], [], 0
        return taken


class Stream:
    """Tells what happens to the rows of one batch until all have ended."""

    def __init__(
        self,
        batch: followed.FollowedBatch,
        rows: untold.Untold,
        *,
        reporting: Reporting,
        packing: Packing,
        clock: clock.Clock,
    ) -> None:
        """`rows` are those that are to be told at once."""
        self._batch = batch
        self._rows = rows
        self._reporting = reporting
        self._clock = clock
        now = clock.monotonic()
        self._heartbeat_due = now + reporting.heartbeat_seconds
        self._statistics_due = now + (reporting.statistics_seconds or 0.0)
        self._statistics_told = batch.progress.statistics()
        self._group = _Group(packing)
        self._piece = _FIRST_PIECE

    async def events(self, deadline: float | None) -> AsyncGenerator[BatchEvent, None]:
        """Tell what there is, and what comes, until the end or the deadline."""
        is_over = False
        while True:
            try:
                async for told in self._next_rows():
                    yield told
                    self._put_heartbeat_off()
            except errors.UnavailableError:  # the store tells the log itself
                if is_over:
                    raise
                await asyncio.sleep(followed.RETRY_SECONDS)
            if not self._rows.is_waiting and (is_over or self._batch.progress.is_finished):
                return
            now = self._clock.monotonic()
            if self._statistics_are_due(now):
                yield Progress(statistics=self._statistics_told, position=self._rows.position)
                self._put_heartbeat_off()
            elif now >= self._heartbeat_due:
                yield Bookmark(position=self._rows.position)
                self._put_heartbeat_off()
            if not self._rows.is_waiting:
                await self._batch.wait(self._until_next(deadline))
            # What ends at the deadline is still told; what comes after it is not waited for.
            if not is_over:
                is_over = deadline is not None and self._clock.monotonic() >= deadline
                await self._take()

    async def _take(self) -> None:
        for state in await self._batch.take():
            if self._reporting.tells(state):
                self._rows.note(state.index, state.changed_at)
            else:
                self._rows.see(state.changed_at)

    async def _next_rows(self) -> AsyncGenerator[Results, None]:
        """Tell the next rows, as they stand now; a message that is not full waits for others."""
        taken = self._rows.take(self._piece)
        try:
            found = await self._batch.read_rows(taken) if taken else []
        except errors.UnavailableError:
            self._rows.put_back(taken)
            raise
        for index in set(taken).difference(row.index for row in found):
            self._rows.told(index, None)  # not there any more
        size = 0
        for row in found:
            encoded = await self._group.encoded(row)
            size += len(encoded)
            if not self._group.has_room(encoded):
                yield self._told()
            self._group.add(row.state, encoded)
            if self._group.is_full:
                yield self._told()
        if not self._rows.is_waiting and not self._group.is_empty:
            yield self._told()
        if size > _PIECE_BYTES:
            self._piece = max(1, self._piece // 2)
        elif len(found) == self._piece:
            self._piece = min(2 * self._piece, _LARGEST_PIECE)

    def _told(self) -> Results:
        """The next message; the stream stands behind it then."""
        states, encoded = self._group.take()
        for state in states:
            self._rows.told(state.index, state.changed_at if state.has_ended else None)
        return Results(rows=encoded, position=self._rows.position)

    def _until_next(self, deadline: float | None) -> float:
        moments = [self._heartbeat_due]
        if deadline is not None:
            moments.append(deadline)
        if self._reporting.statistics_seconds is not None:
            moments.append(self._statistics_due)
        return max(0.0, min(moments) - self._clock.monotonic())

    def _put_heartbeat_off(self) -> None:
        self._heartbeat_due = self._clock.monotonic() + self._reporting.heartbeat_seconds

    def _statistics_are_due(self, now: float) -> bool:
        """Whether the interval is over and the counts have changed; remembers what is told."""
        interval = self._reporting.statistics_seconds
        if interval is None or now < self._statistics_due:
            return False
        self._statistics_due = now + interval
        present = self._batch.progress.statistics()
        if present == self._statistics_told:
            return False
        self._statistics_told = present
        return True
