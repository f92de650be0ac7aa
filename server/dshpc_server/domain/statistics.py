"""Counts over the rows of a batch, kept while rows are added and their jobs move.

Promise: in every snapshot

    total_jobs = completed + in_progress + failed + cancelled + skipped + not_found
               + failed_submissions                                        (by status)
    total_jobs = found_completed + found_in_progress + submitted + resubmitted + kept_failures
               + not_found + withheld + undecided + failed_submissions     (by outcome)
    successful_submissions = submitted + resubmitted
"""

import collections
import dataclasses
from collections.abc import Iterable
from typing import TypeAlias

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """The counts at one moment; the fields are those of the contract's JobStatistics."""

    total_jobs: int
    successful_submissions: int
    """Rows for which a run was submitted: new ones and resubmitted ones."""
    failed_submissions: int
    """Rows that were rejected; they have no job and no status."""
    completed_jobs: int
    in_progress_jobs: int
    resubmitted_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    skipped_jobs: int
    not_found_jobs: int
    """Rows that asked not to submit and found no job; they have no status."""
    found_completed_jobs: int
    found_in_progress_jobs: int
    submitted_jobs: int
    kept_failures: int
    withheld_jobs: int
    undecided_jobs: int
    """Rows that wait for another job's output; in progress, since they are BLOCKED."""
    final: bool
    """Nothing is in progress, so no row can change any more."""


_NO_STATUS = frozenset({None})
_POSSIBLE: dict[Outcome, frozenset[JobStatus | None]] = {
    **{outcome: frozenset(JobStatus) for outcome in Outcome},
    Outcome.REJECTED: _NO_STATUS,
    Outcome.NOT_FOUND: _NO_STATUS,
    Outcome.PENDING: frozenset({JobStatus.BLOCKED}),
    Outcome.WITHHELD: frozenset({JobStatus.CANCELLED, JobStatus.SKIPPED}),
}


Row: TypeAlias = tuple[Outcome, JobStatus | None]
"""A row as it is counted: what was decided, and its status now; None when it has none."""


class Tally:
    """Counts rows by outcome and by status; each change costs the same, whatever the batch."""

    def __init__(self) -> None:
        self._outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self._statuses: dict[JobStatus, int] = dict.fromkeys(JobStatus, 0)

    def add(self, outcome: Outcome, status: JobStatus | None, rows: int = 1) -> None:
        """Count more rows, with their status now; None when they have none."""
        self._count(outcome, status, rows)

    def add_many(self, rows: Iterable[Row]) -> None:
        """Count many rows; cheaper than one by one, since few pairs differ."""
        for (outcome, status), rows_alike in collections.Counter(rows).items():
            self._count(outcome, status, rows_alike)

    def move(self, old: Row, new: Row) -> None:
        """One row went from `old` to `new`. Raises ValueError when no row is like `old`."""
        outcome, status = old
        if not self._outcomes[outcome] or (status is not None and not self._statuses[status]):
            raise ValueError(f"no row is {outcome} and {status}")
        self._count(*new, 1)
        self._count(*old, -1)

    def snapshot(self) -> Statistics:
        """Return the counts as they are now."""
        outcomes, statuses = self._outcomes, self._statuses
        in_progress = sum(statuses[status] for status in job.IN_PROGRESS)
        submitted, resubmitted = outcomes[Outcome.SUBMITTED], outcomes[Outcome.RESUBMITTED]
        return Statistics(
            total_jobs=sum(outcomes.values()),
            successful_submissions=submitted + resubmitted,
            failed_submissions=outcomes[Outcome.REJECTED],
            completed_jobs=statuses[JobStatus.COMPLETED],
            in_progress_jobs=in_progress,
            resubmitted_jobs=resubmitted,
            failed_jobs=sum(statuses[status] for status in job.FAILED),
            cancelled_jobs=statuses[JobStatus.CANCELLED],
            skipped_jobs=statuses[JobStatus.SKIPPED],
            not_found_jobs=outcomes[Outcome.NOT_FOUND],
            found_completed_jobs=outcomes[Outcome.FOUND_COMPLETED],
            found_in_progress_jobs=outcomes[Outcome.FOUND_IN_PROGRESS],
            submitted_jobs=submitted,
            kept_failures=outcomes[Outcome.FAILURE_KEPT],
            withheld_jobs=outcomes[Outcome.WITHHELD],
            undecided_jobs=outcomes[Outcome.PENDING],
            final=in_progress == 0,
        )

    def _count(self, outcome: Outcome, status: JobStatus | None, rows: int) -> None:
        if status not in _POSSIBLE[outcome]:
            raise ValueError(f"a row that is {outcome} cannot be {status}")
        self._outcomes[outcome] += rows
        if status is not None:
            self._statuses[status] += rows
