"""How jobs stand: what is asked of the tables before the rows of a batch are decided.

One question for the newest attempts; and only where it matters, one for the answering attempts
that are others, one for failures, one for outputs that are gone. Jobs that are in progress or
completed, most of those that are found, cost the first alone.
"""

import dataclasses
import functools
from collections.abc import Collection

import sqlalchemy

from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import JobStatus
from dshpc_server.store.records import Attempt, NewBatch
from dshpc_server.store.sql import bulk, columns, exclusion, joins, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_ATTEMPT_ENDS = len(columns.ATTEMPT)
_PLAIN = job.IN_PROGRESS | {JobStatus.COMPLETED}
_NEWEST = (
    sqlalchemy.select(
        *columns.ATTEMPT, _attempts.is_bypass, _jobs.answering_attempt, _jobs.counted_from
    )
    .select_from(joins.NEWEST)
    .where(_jobs.job_id.in_(joins.KEYS))
)
_ANSWERING = (
    sqlalchemy.select(*columns.ATTEMPT)
    .select_from(joins.ANSWERING)
    .where(_jobs.job_id.in_(joins.KEYS))
)
# How often each failed, and the exit code of the attempt that answers.
_is_failure = (
    _attempts.status.in_(sorted(job.FAILED))
    & (_attempts.created_at > sqlalchemy.bindparam("after"))
    & (_attempts.number >= _jobs.counted_from)
    & (_attempts.is_bypass == 0)
    & (_attempts.is_retried == 0)  # a chain fails once
)
_FAILURES = (
    sqlalchemy.select(
        _jobs.job_id,
        sqlalchemy.func.sum(sqlalchemy.case((_is_failure, 1), else_=0)),
        sqlalchemy.func.max(
            sqlalchemy.case((_attempts.number == _jobs.answering_attempt, _attempts.exit_code))
        ),
    )
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_jobs.job_id.in_(joins.KEYS))
    .group_by(_jobs.job_id)
)
_WITH_ONE_OF_THESE_OUTPUTS = (
    sqlalchemy.select(_jobs.job_id)
    .select_from(joins.ANSWERING)
    .where(_attempts.output_hash.in_(joins.KEYS), joins.WITH_KEPT_OUTPUT)
)


@dataclasses.dataclass(kw_only=True, slots=True)
class JobStanding:
    """How one job stands; it moves on as the rows of a batch are decided."""

    newest: Attempt | None = None
    newest_is_bypass: bool = False
    answering: Attempt | None = None
    """What look-ups find, whether its output is still there or not."""
    standing: lookup.Standing | None = None
    """What `lookup.decide` is told about `answering`."""
    counted_from: int = 1

    def answer_with(self, attempt: Attempt) -> None:
        """Let look-ups find this attempt."""
        self.answering = attempt
        self.standing = _standing(attempt.status, attempt.replaced)


class Standings:
    """How the jobs of a batch stand.

    Most are in progress or completed with nothing more to tell: of these the attempt alone is
    kept, since ten thousand values more take as long as finding them.
    """

    def __init__(self) -> None:
        self.plain: dict[str, Attempt] = {}
        self.others: dict[str, JobStanding] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self.plain or job_id in self.others

    def of(self, job_id: str) -> JobStanding:
        """Return how this job stands. A change of it counts once it is kept."""
        found = self.others.get(job_id)
        if found is not None:
            return found
        plain = self.plain.get(job_id)
        if plain is None:
            return JobStanding()
        standing = _standing(plain.status, plain.replaced)
        return JobStanding(newest=plain, answering=plain, standing=standing)

    def keep(self, job_id: str, found: JobStanding) -> None:
        """Go on from this."""
        self.others[job_id] = found

    def add(self, more: "Standings") -> None:
        """Take in other jobs."""
        self.plain |= more.plain
        self.others |= more.others


def find(
    connection: sqlalchemy.Connection, job_ids: Collection[str], batch: NewBatch, *, lock: bool
) -> Standings:
    """Return how these jobs stand for this batch; `lock` keeps other servers off them."""
    found = Standings()
    if lock:
        exclusion.hold_jobs(connection, job_ids)
    _find_newest(connection, job_ids, found)
    _count_failures(connection, found, batch)
    _strike_lost_outputs(connection, found, batch.lost_outputs)
    return found


def _find_newest(
    connection: sqlalchemy.Connection, job_ids: Collection[str], found: Standings
) -> None:
    answered_by_another = []
    for keys in bulk.key_lists(job_ids):
        for row in connection.execute(_NEWEST, {"keys": keys}).all():
            newest = columns.attempt(row[:_ATTEMPT_ENDS])
            is_bypass, answering, counted_from = row[_ATTEMPT_ENDS:]
            job_id, is_answering = newest.key.job_id, newest.key.number == answering
            if is_answering and counted_from == 1 and newest.status in _PLAIN:
                found.plain[job_id] = newest
                continue
            other = JobStanding(
                newest=newest, newest_is_bypass=bool(is_bypass), counted_from=counted_from
            )
            found.keep(job_id, other)
            if is_answering:
                other.answer_with(newest)
            elif answering is not None:
                answered_by_another.append(job_id)
    for keys in bulk.key_lists(answered_by_another):
        for row in connection.execute(_ANSWERING, {"keys": keys}).all():
            found.others[row[0]].answer_with(columns.attempt(row))


def _count_failures(connection: sqlalchemy.Connection, found: Standings, batch: NewBatch) -> None:
    failed = {
        job_id: each.standing
        for job_id, each in found.others.items()
        if each.standing is not None and each.standing.status in job.FAILED
    }
    after = columns.moment(batch.created_at - lookup.ATTEMPT_WINDOW)
    for keys in bulk.key_lists(failed):
        rows = connection.execute(_FAILURES, {"keys": keys, "after": after}).all()
        for job_id, failures, exit_code in rows:
            found.others[job_id].standing = dataclasses.replace(
                failed[job_id], failures=failures, exit_code=exit_code
            )


def _strike_lost_outputs(
    connection: sqlalchemy.Connection, found: Standings, lost: Collection[str]
) -> None:
    for keys in bulk.key_lists(lost):
        for (job_id,) in connection.execute(_WITH_ONE_OF_THESE_OUTPUTS, {"keys": keys}).all():
            if job_id in found:
                each = found.of(job_id)
                each.standing = lookup.Standing(status=JobStatus.COMPLETED, has_output=False)
                found.keep(job_id, each)


@functools.cache
def _standing(status: JobStatus, replaced: JobStatus | None) -> lookup.Standing:
    """Return what is told of most attempts; there are few of these values."""
    return lookup.Standing(status=status, replaced=replaced)
