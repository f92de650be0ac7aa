"""Claiming from the queue: PENDING attempts by (time of the batch, index), taken from its head.

A retry waits in its place until it is due. One that was made later than now was given its time by
a clock that has since been set back: it is due.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain.job import JobStatus
from dshpc_server.store.records import Attempt, Claim, Claims
from dshpc_server.store.sql import bulk, columns, database_clock, joins, servers, stamps, tables

# Attempts looked at together; most claims take fewer.
_LOOK_AHEAD = 200
_TARGET = JobStatus.CONFIGURING
_SECOND = database_clock.MICROSECONDS

_attempts = tables.attempts.c
_ORDER = (_attempts.queued_at, _attempts.queue_index, _attempts.job_id)
_now: sqlalchemy.BindParameter[int] = sqlalchemy.bindparam("now", type_=sqlalchemy.BigInteger)
_IS_DUE = (_attempts.due_at <= _now) | (_attempts.created_at > _now)
# The next that is not due yet is asked for with the server's record: a question less.
_NEXT_DUE = sqlalchemy.select(sqlalchemy.func.min(_attempts.due_at)).where(
    sqlalchemy.text("attempts.status = 'PENDING' AND attempts.due_at > 0"), _attempts.due_at > _now
)
_HOLD = servers.held(_NEXT_DUE.scalar_subquery())
# What is needed to launch it, as it is once it is claimed.
_CLAIMED = tuple(each + 1 if each is _attempts.revision else each for each in columns.CLAIM)
_CLAIM_ENDS = len(columns.CLAIM)
_COLUMNS = (*_CLAIMED, _attempts.replaced, *_ORDER)
# The queue in its order. PENDING is written out, not a parameter: only so is its partial index
# used. Another server's claims are stepped over, not waited for; SQLite, where the writer is
# alone, is told nothing of that.
_QUEUE = (
    sqlalchemy.select(*_COLUMNS)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(sqlalchemy.text("attempts.status = 'PENDING'"), _IS_DUE)
    .order_by(*_ORDER)
    .with_for_update(of=tables.attempts, skip_locked=True, key_share=True)
)
_CHANGING = ("status", "revision", "owner", "changed_at")


def claim(
    connection: sqlalchemy.Connection,
    fits: Callable[[Claim], bool],
    limit: int,
    server_id: str,
    now: int,
    stamp: stamps.Stamp,
) -> tuple[Claims, Sequence[Attempt]]:
    """Take attempts from the head of the queue; tell how they are now. See `store.port.Writer`."""
    (due_at,) = servers.hold(connection, server_id, _HOLD, now=now)
    taken: list[Claim] = []
    changes: list[Attempt] = []
    for row in _waiting(connection, limit, now):
        candidate = columns.claim(row[:_CLAIM_ENDS])
        if not fits(candidate):
            break
        taken.append(candidate)
        replaced = columns.STATUSES.get(row[_CLAIM_ENDS])
        changes.append(_claimed(candidate, replaced, stamp()))
    values = [_values(each, server_id) for each in changes]
    bulk.update(connection, tables.attempts, _CHANGING, values)
    next_due_seconds = None if due_at is None else (due_at - now) / _SECOND
    return Claims(taken=taken, next_due_seconds=next_due_seconds), changes


def _waiting(connection: sqlalchemy.Connection, limit: int, now: int) -> Iterator[Sequence[Any]]:
    """Walk the first of the queue, some at a time."""
    statement = _QUEUE
    while limit > 0:
        rows = connection.execute(statement.limit(min(limit, _LOOK_AHEAD)), {"now": now}).all()
        yield from rows
        if len(rows) < _LOOK_AHEAD:
            return
        limit -= len(rows)
        last = tuple(rows[-1][-len(_ORDER) :])
        statement = _QUEUE.where(sqlalchemy.tuple_(*_ORDER) > last)


def _values(attempt: Attempt, server_id: str) -> tuple[object, ...]:
    """Return the columns of _CHANGING, then the key."""
    key, changed_at = attempt.key, attempt.changed_at
    return _TARGET.value, attempt.revision, server_id, changed_at, key.job_id, key.number


def _claimed(claim: Claim, replaced: JobStatus | None, changed_at: int) -> Attempt:
    return Attempt(
        key=claim.key,
        status=_TARGET,
        revision=claim.revision,
        function_hash=claim.spec.function_hash,
        replaced=replaced,
        created_at=claim.created_at,
        started_at=None,
        ended_at=None,
        result=None,
        chain=claim.chain,
        changed_at=changed_at,
    )
