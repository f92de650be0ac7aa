"""Deciding: what becomes of the rows of a batch, one after the other, given how their jobs stand.

Promise: nothing is read or written here, so that a preview decides as an acceptance does. What is
to be stored is left in `rows`, `new`, `moved` and `taken_over`.
"""

import dataclasses

from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lookup import CachePolicy, Decision
from dshpc_server.store.records import Attempt, Candidate, NewBatch, NewRow, Row
from dshpc_server.store.sql.standings import JobStanding, Standings

_REJECTED = Decision(outcome=Outcome.REJECTED)
_UNDECIDED = Decision(outcome=Outcome.PENDING)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewAttempt:
    """An attempt that is due."""

    attempt: Attempt
    candidate: Candidate
    index: int
    """Of the row that it is submitted by."""
    is_bypass: bool


class Decided:
    """The decisions about one batch; each row sees what those before it did."""

    def __init__(self, batch: NewBatch, standings: Standings, changed_at: int = 0) -> None:
        """`changed_at` is the stamp of what is to be stored."""
        self._created_at = batch.created_at
        self._changed_at = changed_at
        self._standings = standings
        self.new: list[NewAttempt] = []
        self.moved: dict[str, JobStanding] = {}
        """The jobs that are not as they were found, or not as a new one is inserted."""
        self.taken_over: list[AttemptKey] = []
        """The attempts by BYPASS that became ordinary ones."""
        self.rows = [self._row(row) for row in batch.rows]

    def _row(self, row: NewRow) -> Row:
        if row.undecided is not None:
            return self._decided(row, _UNDECIDED, None)
        if row.candidate is None:
            return self._decided(row, _REJECTED, None)
        job_id, policy = row.candidate.spec.job_id, row.candidate.policy
        found = self._standings.of(job_id)
        decision = lookup.decide(found.standing, policy)
        if not decision.submits:
            is_found = decision.outcome is not Outcome.NOT_FOUND
            return self._decided(row, decision, found.answering if is_found else None)
        self._standings.keep(job_id, found)
        before = found.newest
        if before is not None and before.status in job.IN_PROGRESS:
            if policy.cache is not CachePolicy.BYPASS:
                self._join(found, before, policy.cache)
            waiting = Decision(outcome=Outcome.FOUND_IN_PROGRESS, old_status=before.replaced)
            return self._decided(row, waiting, before)
        if row.rejection is not None:
            return self._decided(row, _REJECTED, None)
        return self._decided(row, decision, self._submit(row.index, row.candidate, found, decision))

    def _join(self, found: JobStanding, running: Attempt, cache: CachePolicy) -> None:
        """Let an attempt in progress count for everybody: it is waited for as any other."""
        if found.newest_is_bypass:
            found.newest_is_bypass = False
            self.taken_over.append(running.key)
            if cache is CachePolicy.REFRESH:
                found.counted_from = running.key.number
        self._let_answer(found, running)
        self.moved[running.key.job_id] = found

    def _submit(
        self, index: int, candidate: Candidate, found: JobStanding, decision: Decision
    ) -> Attempt:
        cache, before = candidate.policy.cache, found.newest
        attempt = self._attempt(candidate, before, decision.old_status)
        found.newest = attempt
        found.newest_is_bypass = cache is CachePolicy.BYPASS
        if cache is CachePolicy.REFRESH:
            found.counted_from = attempt.key.number
        if not found.newest_is_bypass:
            self._let_answer(found, attempt)
        if before is not None or found.newest_is_bypass:
            self.moved[attempt.key.job_id] = found
        self.new.append(
            NewAttempt(
                attempt=attempt, candidate=candidate, index=index, is_bypass=found.newest_is_bypass
            )
        )
        return attempt

    def _let_answer(self, found: JobStanding, attempt: Attempt) -> None:
        """Have look-ups find this attempt, unless a result answers until it has completed."""
        if not _has_answer(found.standing):
            found.answer_with(attempt)

    def _attempt(
        self, candidate: Candidate, before: Attempt | None, replaced: JobStatus | None
    ) -> Attempt:
        number = 1 if before is None else before.key.number + 1
        return Attempt(
            key=AttemptKey(job_id=candidate.spec.job_id, number=number),
            status=JobStatus.PENDING,
            revision=1 if before is None else before.revision + 1,
            function_hash=candidate.spec.function_hash,
            replaced=replaced,
            created_at=self._created_at,
            started_at=None,
            ended_at=None,
            result=None,
            chain=number,
            changed_at=self._changed_at,
        )

    def _decided(self, row: NewRow, decision: Decision, attempt: Attempt | None) -> Row:
        return Row(
            index=row.index,
            head=row.head,
            outcome=decision.outcome,
            old_status=decision.old_status,
            kept=decision.kept,
            attempt=attempt,
            rejection=row.rejection if decision is _REJECTED else None,
            changed_at=self._changed_at,
        )


def _has_answer(standing: lookup.Standing | None) -> bool:
    return standing is not None and standing.status is JobStatus.COMPLETED and standing.has_output
