"""A batch's progress as one watcher sees it: how its rows stand, and their statistics.

Promise: the statistics always speak of exactly the rows as they stand here. A row is tied to a
chain: when an attempt of it is retried, the row goes on with the retry. A change of another chain
than a row's own, or one that is older than what is known, changes nothing. What has ended never
changes, so that of such a row nothing is kept but that it counts.
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Self

from dshpc_server.domain import job, statistics
from dshpc_server.store.records import Attempt, Chain, Row, RowState


class BatchProgress:
    """The rows of one batch, kept up to date."""

    def __init__(self, states: Iterable[RowState] = ()) -> None:
        self._tally = statistics.Tally()
        self._open: dict[int, RowState] = {}
        self._first_of: dict[Chain, int] = {}
        """One of the open rows of each chain; most chains have no other."""
        self._others_of: dict[Chain, dict[int, None]] = {}
        """The other ones, of chains that have some."""
        for state in states:
            self.add(state)

    @classmethod
    def of_rows(cls, rows: Sequence[Row]) -> Self:
        """What is known from whole rows; quicker than row by row."""
        made = cls()
        made._tally.add_many((row.outcome, row.status) for row in rows)
        for row in rows:
            status = row.status
            if status is not None and status not in job.TERMINAL:
                made._keep(row.state)
        return made

    @property
    def is_finished(self) -> bool:
        """Whether no row can change any more."""
        return not self._open

    @property
    def open_rows(self) -> Collection[int]:
        """The indexes of the rows that have not ended."""
        return self._open.keys()

    def is_known(self, state: RowState) -> bool:
        """Whether a row stands like this as far as is known."""
        return state.has_ended or self._open.get(state.index) == state

    @property
    def open_jobs(self) -> set[str]:
        """The jobs that these wait for."""
        return {job_id for job_id, _ in self._first_of}

    def statistics(self) -> statistics.Statistics:
        """Counts over the rows as they stand."""
        return self._tally.snapshot()

    def add(self, state: RowState) -> None:
        """Take in a row that was not known."""
        self._tally.add(state.outcome, state.status)
        self._keep(state)

    def apply(self, attempt: Attempt) -> list[RowState]:
        """Take in a change of an attempt; how the rows stand that it changed."""
        # What is retried is no end: the retry, which came with it, stands for it.
        if attempt.is_retried:
            return []
        changed = []
        for index in self._rows_of((attempt.key.job_id, attempt.chain)):
            known = self._open[index]
            if attempt.revision > known.revision:
                state = dataclasses.replace(
                    known,
                    status=attempt.status,
                    revision=attempt.revision,
                    changed_at=max(known.changed_at, attempt.changed_at),
                )
                self._move(known, state)
                changed.append(state)
        return changed

    def update(self, state: RowState) -> bool:
        """Take in how a row stands in the store now; whether that is news."""
        known = self._open.get(state.index)
        if known is None or state == known:
            return False
        self._move(known, state)
        return True

    def _move(self, known: RowState, state: RowState) -> None:
        self._tally.move((known.outcome, known.status), (state.outcome, state.status))
        if state.has_ended or state.chain != known.chain:
            self._forget(known)
        self._keep(state)

    def _keep(self, state: RowState) -> None:
        if state.has_ended:
            return
        self._open[state.index] = state
        if state.chain is not None:
            first = self._first_of.setdefault(state.chain, state.index)
            if first != state.index:
                self._others_of.setdefault(state.chain, {})[state.index] = None

    def _forget(self, state: RowState) -> None:
        del self._open[state.index]
        if state.chain is None:
            return
        others = self._others_of.get(state.chain)
        if others is None:
            del self._first_of[state.chain]
            return
        if self._first_of[state.chain] == state.index:
            # The last one: what is before it may have been taken out, and is not walked over.
            self._first_of[state.chain], _ = others.popitem()
        else:
            del others[state.index]
        if not others:
            del self._others_of[state.chain]

    def _rows_of(self, chain: Chain) -> Sequence[int]:
        """The open rows of a chain."""
        first = self._first_of.get(chain)
        return () if first is None else (first, *self._others_of.get(chain, ()))
