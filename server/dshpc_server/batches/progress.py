"""A batch's progress as one watcher sees it: its rows as they stand, and their statistics.

Promise: the statistics always speak of exactly the rows as they stand here. A row is tied to a
chain: when an attempt of it is retried, the row goes on with the retry. A change of another chain
than a row's own, or one that is older than what is known, changes nothing.
"""

import collections
import dataclasses
from collections.abc import Sequence

from dshpc_server.domain import job, statistics
from dshpc_server.store.records import Attempt, Row

_Chain = tuple[str, int]
"""A job and the number of the first attempt of a chain."""


class BatchProgress:
    """The rows of one batch, kept up to date."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)
        self._tally = statistics.Tally()
        self._positions: dict[_Chain, list[int]] = collections.defaultdict(list)
        self._known: dict[_Chain, Attempt] = {}
        for position, row in enumerate(rows):
            attempt = row.attempt
            self._tally.add(row.outcome, None if attempt is None else attempt.status)
            if attempt is not None and attempt.status not in job.TERMINAL:
                self._positions[_chain(attempt)].append(position)
                self._known[_chain(attempt)] = attempt

    @property
    def rows(self) -> Sequence[Row]:
        """The rows as they stand, in the order given."""
        return self._rows

    @property
    def is_finished(self) -> bool:
        """Whether no row can change any more."""
        return not self._known

    def statistics(self) -> statistics.Statistics:
        """Counts over the rows as they stand."""
        return self._tally.snapshot()

    def apply(self, attempt: Attempt) -> Sequence[Row]:
        """Take in a change; the rows that it changed."""
        chain = _chain(attempt)
        known = self._known.get(chain)
        # What is retried is no end: the retry, which came with it, stands for it.
        if known is None or attempt.revision <= known.revision or attempt.is_retried:
            return ()
        changed = []
        for position in self._positions[chain]:
            row = dataclasses.replace(self._rows[position], attempt=attempt)
            self._rows[position] = row
            self._tally.move(known.status, attempt.status)
            changed.append(row)
        if attempt.status in job.TERMINAL:
            del self._known[chain]
            del self._positions[chain]
        else:
            self._known[chain] = attempt
        return changed


def _chain(attempt: Attempt) -> _Chain:
    return attempt.key.job_id, attempt.chain
