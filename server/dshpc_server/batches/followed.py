"""A batch that somebody follows: how its rows stand, kept up to date from a watch and the store.

Promise: what is committed while the watch is set comes to be known here; of each row only little is
kept, and never a result. What is read from the store is never older than what was known before, for
whoever is told of a change is told after its commit.
"""

import asyncio
import functools
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence

from dshpc_server import errors
from dshpc_server.batches import progress, watchers
from dshpc_server.store import committer, port
from dshpc_server.store.records import Row, RowState

STATES_PER_READING = 2_000
"""Each reading holds up other questions a little."""
ROWS_PER_READING = 500
RETRY_SECONDS = 0.5
"""Pause after the store was not available."""


class FollowedBatch:
    """How the rows of one batch stand."""

    def __init__(
        self,
        batch_id: str,
        *,
        watch: watchers.BatchWatch,
        committer: committer.Committer,
        known: progress.BatchProgress,
        at_hand: Iterable[Row] = (),
    ) -> None:
        """`known` is how the rows stood when the watch had been set, or is filled by `load`.

        Rows that are `at_hand` are not read the first time.
        """
        self.batch_id = batch_id
        self.progress = known
        self._at_hand = {row.index: row for row in at_hand}
        self._watch = watch
        self._committer = committer

    async def load(self) -> AsyncGenerator[Sequence[RowState], None]:
        """Read all rows of the batch, which are not known yet; tells how they stand, in parts."""
        first_index = 0
        while True:
            states = await self._committer.read(
                functools.partial(_states, batch_id=self.batch_id, first_index=first_index)
            )
            for state in states:
                self.progress.add(state)
            yield states
            if len(states) < STATES_PER_READING:
                break
            first_index = states[-1].index + 1
        # Before their jobs were watched they may have changed.
        if self._watch.add(self.progress.open_jobs):
            self._watch.put_rows(())

    async def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until something may have changed; False when nothing did in time."""
        return await self._watch.wait(timeout_seconds)

    async def take(self) -> list[RowState]:
        """How the rows stand that have changed since this was asked last.

        What cannot be read now, since the store is away, is read the next time.
        """
        rows = self._watch.take_rows()
        changed = {
            state.index: state
            for attempt in self._watch.take()
            for state in self.progress.apply(attempt)
        }
        indexes = list(self.progress.open_rows if rows.is_any else rows.indexes)
        if indexes:
            try:
                await self._read_again(indexes, changed)
            except errors.UnavailableError:  # the store tells the log itself
                await asyncio.sleep(RETRY_SECONDS)
                self._watch.put_rows(indexes)
        return list(changed.values())

    async def read_rows(self, indexes: Collection[int]) -> list[Row]:
        """Read these rows whole, in this order; what is news in them is known from then on.

        Raises UnavailableError.
        """
        found = {index: self._at_hand.pop(index) for index in indexes if index in self._at_hand}
        found = {index: row for index, row in found.items() if self.progress.is_known(row.state)}
        found |= {
            row.index: row
            for some in _pieces([index for index in indexes if index not in found])
            for row in await self._committer.read(
                functools.partial(_rows, batch_id=self.batch_id, indexes=some)
            )
        }
        for row in found.values():
            self.progress.update(row.state)
        return [found[index] for index in indexes if index in found]

    async def _read_again(self, indexes: Sequence[int], changed: dict[int, RowState]) -> None:
        """Take in how these rows stand now; those that are news are put into `changed`."""
        while True:
            for some in _pieces(indexes):
                states = await self._committer.read(
                    functools.partial(_states_of, batch_id=self.batch_id, indexes=some)
                )
                changed |= {state.index: state for state in states if self.progress.update(state)}
            # A row that waits for another job from now on may have changed before that was watched.
            if not self._watch.add(self.progress.open_jobs):
                return


def _states(store: port.Reader, *, batch_id: str, first_index: int) -> Sequence[RowState]:
    return store.find_row_states(batch_id, first_index=first_index, limit=STATES_PER_READING)


def _states_of(store: port.Reader, *, batch_id: str, indexes: Sequence[int]) -> Sequence[RowState]:
    return store.find_row_states_by_index(batch_id, indexes)


def _rows(store: port.Reader, *, batch_id: str, indexes: Sequence[int]) -> Sequence[Row]:
    return store.find_rows_by_index(batch_id, indexes)


def _pieces(indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indexes), ROWS_PER_READING):
        yield indexes[start : start + ROWS_PER_READING]
