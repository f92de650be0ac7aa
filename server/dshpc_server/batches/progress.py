"""A batch's progress as one watcher sees it: its rows as they stand, and their statistics.

Promise: the statistics always speak of exactly the rows as they stand here; a change of another
attempt than a row's own, or one that is older than what is known, changes nothing.
"""

import collections
import dataclasses
from collections.abc import Sequence

from dshpc_server.domain import job, statistics
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store.port import Attempt, Row


class BatchProgress:
    """The rows of one batch, kept up to date."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)
        self._tally = statistics.Tally()
        self._positions: dict[AttemptKey, list[int]] = collections.defaultdict(list)
        self._known: dict[AttemptKey, Attempt] = {}
        for position, row in enumerate(rows):
            attempt = row.attempt
            self._tally.add(row.outcome, None if attempt is None else attempt.status)
            if attempt is not None and attempt.status not in job.TERMINAL:
                self._positions[attempt.key].append(position)
                self._known[attempt.key] = attempt

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
        known = self._known.get(attempt.key)
        if known is None or attempt.revision <= known.revision:
            return ()
        changed = []
        for position in self._positions[attempt.key]:
            row = dataclasses.replace(self._rows[position], attempt=attempt)
            self._rows[position] = row
            self._tally.move(known.status, attempt.status)
            changed.append(row)
        if attempt.status in job.TERMINAL:
            del self._known[attempt.key]
            del self._positions[attempt.key]
        else:
            self._known[attempt.key] = attempt
        return changed
