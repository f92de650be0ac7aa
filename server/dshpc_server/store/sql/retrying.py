"""Retrying: the attempt that follows on one that has ended, in the transaction that ends it.

Promise: a chain goes on by one attempt at a time, with the place in the queue, the needs and the
purpose of the attempt before; whatever spoke of that one (the job, its answer) speaks of the new
one. Rows of batches are tied to the chain, so nothing of them changes. When it was made and when
it is due are moments of the store's one clock, so that the two can be compared with its present.
"""

import dataclasses
from collections.abc import Sequence

import sqlalchemy

from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.store.records import Attempt
from dshpc_server.store.sql import columns, servers, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
# As they are in the attempt before.
_KEPT = (
    _attempts.cpus,
    _attempts.memory_bytes,
    _attempts.gpus,
    _attempts.timeout_seconds,
    _attempts.replaced,
    _attempts.is_bypass,
    _attempts.chain,
    _attempts.queued_at,
    _attempts.queue_index,
    _attempts.priority,
    _attempts.turn,
)
_NEW = {
    "job_id": _attempts.job_id,
    "number": _attempts.number + 1,
    "status": sqlalchemy.literal(JobStatus.PENDING.value),
    "revision": _attempts.revision + 1,
    "created_at": sqlalchemy.bindparam("created", type_=sqlalchemy.BigInteger),
    "due_at": sqlalchemy.bindparam("due", type_=sqlalchemy.BigInteger),
    "changed_at": sqlalchemy.bindparam("changed", type_=sqlalchemy.BigInteger),
    **{column.name: column for column in _KEPT},
}
_INSERT = sqlalchemy.insert(tables.attempts).from_select(
    list(_NEW),
    sqlalchemy.select(*_NEW.values()).where(
        _attempts.job_id == sqlalchemy.bindparam("job"),
        _attempts.number == sqlalchemy.bindparam("before"),
    ),
    include_defaults=False,
)
_MOVE_ON = (
    sqlalchemy.update(tables.jobs)
    .where(_jobs.job_id == sqlalchemy.bindparam("job"))
    .values(
        newest_attempt=_jobs.newest_attempt + 1,
        answering_attempt=sqlalchemy.case(
            (_jobs.answering_attempt == sqlalchemy.bindparam("before"), _jobs.newest_attempt + 1),
            else_=_jobs.answering_attempt,
        ),
    )
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """An attempt that follows on another."""

    attempt: Attempt
    due_at: int


def following(ended: Attempt, after_seconds: float, now: int) -> Retry:
    """Return the attempt that follows on one that has ended."""
    attempt = Attempt(
        key=AttemptKey(job_id=ended.key.job_id, number=ended.key.number + 1),
        status=JobStatus.PENDING,
        revision=ended.revision + 1,
        function_hash=ended.function_hash,
        replaced=ended.replaced,
        created_at=columns.at(now),
        started_at=None,
        ended_at=None,
        result=None,
        chain=ended.chain,
        changed_at=ended.changed_at,
    )
    return Retry(attempt=attempt, due_at=now + servers.microseconds(after_seconds))


def retry(connection: sqlalchemy.Connection, retries: Sequence[Retry]) -> None:
    """Store these attempts; those before them are stored as ended."""
    if not retries:
        return
    values = [
        {
            "job": each.attempt.key.job_id,
            "before": each.attempt.key.number - 1,
            "created": columns.moment(each.attempt.created_at),
            "due": each.due_at,
            "changed": each.attempt.changed_at,
        }
        for each in retries
    ]
    connection.execute(_INSERT, values)
    connection.execute(_MOVE_ON, values)
