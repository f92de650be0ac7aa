"""Claiming from the queue: PENDING attempts, class by class, each in its order.

A retry waits in its place until it is due. One that was made later than now was given its time by
a clock that has since been set back: it is due.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import queue
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.records import Attempt, Claim, Claims
from dshpc_server.store.sql import bulk, columns, database_clock, joins, servers, stamps, tables

# Attempts looked at together; most claims take fewer.
_LOOK_AHEAD = 200
_TARGET = JobStatus.CONFIGURING
_SECOND = database_clock.MICROSECONDS

_attempts = tables.attempts.c
_ORDER = (_attempts.turn, _attempts.queued_at, _attempts.queue_index, _attempts.job_id)
_now: sqlalchemy.BindParameter[int] = sqlalchemy.bindparam("now", type_=sqlalchemy.BigInteger)
_IS_DUE = (_attempts.due_at <= _now) | (_attempts.created_at > _now)
# The next that is not due yet is asked for with the server's record: a question less.
_NEXT_DUE = sqlalchemy.select(sqlalchemy.func.min(_attempts.due_at)).where(
    sqlalchemy.text("attempts.status = 'PENDING' AND attempts.due_at > 0"), _attempts.due_at > _now
)
_HOLD = servers.held(_NEXT_DUE.scalar_subquery())
# PENDING is written out, not a parameter: only so is its partial index used.
_IS_PENDING = sqlalchemy.text("attempts.status = 'PENDING'")


def _heads() -> sqlalchemy.Select[Any]:
    """Return the question which classes there are, and when the head of each was queued.

    The index is gone down from one class to the next, so what it takes does not depend on how many
    attempts wait.
    """
    highest = sqlalchemy.func.max(_attempts.priority)
    classes = (
        sqlalchemy.select(highest.label("priority"))
        .where(_IS_PENDING)
        .cte("classes", recursive=True)
    )
    lower = (
        sqlalchemy.select(highest)
        .where(_IS_PENDING, _attempts.priority < classes.c.priority)
        .scalar_subquery()
    )
    classes = classes.union_all(sqlalchemy.select(lower).where(classes.c.priority.is_not(None)))
    head = (
        sqlalchemy.select(_attempts.queued_at)
        .where(_IS_PENDING, _attempts.priority == classes.c.priority, _IS_DUE)
        .order_by(*_ORDER)
        .limit(1)
    )
    return sqlalchemy.select(classes.c.priority, head.scalar_subquery()).where(
        classes.c.priority.is_not(None)
    )


_HEADS = _heads()
# What is needed to launch it, as it is once it is claimed.
_CLAIMED = tuple(each + 1 if each is _attempts.revision else each for each in columns.CLAIM)
_CLAIM_ENDS = len(columns.CLAIM)
_COLUMNS = (*_CLAIMED, _attempts.replaced, *_ORDER)
# One class in its order. Another server's claims are stepped over, not waited for; SQLite, where
# the writer is alone, is told nothing of that.
_QUEUE = (
    sqlalchemy.select(*_COLUMNS)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_IS_PENDING, _attempts.priority == sqlalchemy.bindparam("priority"), _IS_DUE)
    .order_by(*_ORDER)
    .with_for_update(of=tables.attempts, skip_locked=True, key_share=True)
)
_CHANGING = ("status", "revision", "owner", "changed_at")


def claim(
    connection: sqlalchemy.Connection,
    judge: Callable[[Claim], Verdict],
    limit: int,
    ageing: queue.Ageing,
    server_id: str,
    now: int,
    stamp: stamps.Stamp,
) -> tuple[Claims, Sequence[Attempt]]:
    """Take attempts from the head of the queue; tell how they are now. See `store.port.Writer`."""
    (due_at,) = servers.hold(connection, server_id, _HOLD, now=now)
    classes = _Classes(connection, ageing, limit, now)
    taken: list[Claim] = []
    changes: list[Attempt] = []
    for row in classes.walk():
        candidate = columns.claim(row[:_CLAIM_ENDS])
        verdict = judge(candidate)
        if verdict is Verdict.STOP:
            break
        if verdict is Verdict.STEP_OVER:
            continue
        classes.served(candidate.priority)
        taken.append(candidate)
        replaced = columns.STATUSES.get(row[_CLAIM_ENDS])
        changes.append(_claimed(candidate, replaced, stamp()))
    values = [_values(each, server_id) for each in changes]
    bulk.update(connection, tables.attempts, _CHANGING, values)
    next_due_seconds = None if due_at is None else (due_at - now) / _SECOND
    claims = Claims(taken=taken, next_due_seconds=next_due_seconds, ageing=classes.ageing)
    return claims, changes


class _Classes:
    """A walk through the queue: of the class whose turn it is the next."""

    def __init__(
        self, connection: sqlalchemy.Connection, ageing: queue.Ageing, limit: int, now: int
    ) -> None:
        """At most `limit` are wanted."""
        self._connection = connection
        self._limit = limit
        self._now = now
        self.ageing = ageing
        """Whom we served when."""

    def walk(self) -> Iterator[Sequence[Any]]:
        """Go through the queue until as many were served as are wanted, or nobody is left."""
        if self._limit <= 0:
            return
        heads = {
            priority: queued_at / _SECOND
            for priority, queued_at in self._connection.execute(_HEADS, {"now": self._now}).all()
            if queued_at is not None  # of the others none is due
        }
        walks = {priority: self._class(priority) for priority in heads}
        while heads and self._limit > 0:
            priority = self.ageing.next(heads, self._now / _SECOND)
            row = next(walks[priority], None)
            if row is None:
                del heads[priority]
            else:
                yield row

    def served(self, priority: int) -> None:
        """Note that the one told last was taken."""
        self._limit -= 1
        self.ageing = self.ageing.serving(priority, self._now / _SECOND)

    def _class(self, priority: int) -> Iterator[Sequence[Any]]:
        """Walk the first of a class."""
        return itertools.islice(self._all(priority), self._limit + queue.MOST_STEPPED_OVER)

    def _all(self, priority: int) -> Iterator[Sequence[Any]]:
        """Walk a class, some at a time."""
        statement, some = _QUEUE, min(self._limit, _LOOK_AHEAD)
        while True:
            rows = self._connection.execute(
                statement.limit(some), {"now": self._now, "priority": priority}
            ).all()
            yield from rows
            if len(rows) < some:
                return
            last = tuple(rows[-1][-len(_ORDER) :])
            statement, some = _QUEUE.where(sqlalchemy.tuple_(*_ORDER) > last), _LOOK_AHEAD


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
