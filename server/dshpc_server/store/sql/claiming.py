"""Claiming from the queue: PENDING attempts by (time of the batch, index), taken from its head."""

from collections.abc import Callable, Iterator, Sequence

import sqlalchemy

from dshpc_server.domain import lifecycle
from dshpc_server.domain.job import JobStatus, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Attempt, Claim
from dshpc_server.store.sql import bulk, columns, joins, tables

# Attempts looked at together; most claims take fewer.
_LOOK_AHEAD = 200

_attempts = tables.attempts.c
_ORDER = (_attempts.created_at, _attempts.queue_index, _attempts.job_id)
# The queue in its order. PENDING is written out, not a parameter: only so is its partial index
# used. Another server's claims are stepped over, not waited for; SQLite, where the writer is
# alone, is told nothing of that.
_QUEUE = (
    sqlalchemy.select(*_ORDER, *columns.RESOURCES)
    .where(sqlalchemy.text("attempts.status = 'PENDING'"))
    .order_by(*_ORDER)
    .with_for_update(skip_locked=True)
)
_BY_KEYS = (_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED)
_TO_CLAIMED = (
    sqlalchemy.update(tables.attempts)
    .where(*_BY_KEYS)
    .values(
        status=lifecycle.target(JobStatus.PENDING, Event.CLAIMED), revision=_attempts.revision + 1
    )
)
_CLAIMED = (
    sqlalchemy.select(*columns.CLAIM, _attempts.replaced)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(*_BY_KEYS)
)


def claim(
    connection: sqlalchemy.Connection, fits: Callable[[Resources], bool], limit: int
) -> tuple[Sequence[Claim], Sequence[Attempt]]:
    """Take attempts from the head of the queue; tell how they are now. See `store.port.Writer`."""
    taken = []
    for job_id, resources in _waiting(connection, limit):
        if not fits(resources):
            break
        taken.append(job_id)
    return _make_claimed(connection, taken)


def _waiting(connection: sqlalchemy.Connection, limit: int) -> Iterator[tuple[str, Resources]]:
    """Walk the first of the queue, some at a time."""
    statement = _QUEUE
    while limit > 0:
        rows = connection.execute(statement.limit(min(limit, _LOOK_AHEAD))).all()
        for row in rows:
            yield row.job_id, columns.resources(row[len(_ORDER) :])
        if len(rows) < _LOOK_AHEAD:
            return
        limit -= len(rows)
        last = tuple(rows[-1][: len(_ORDER)])
        statement = _QUEUE.where(sqlalchemy.tuple_(*_ORDER) > last)


def _make_claimed(
    connection: sqlalchemy.Connection, job_ids: Sequence[str]
) -> tuple[Sequence[Claim], Sequence[Attempt]]:
    found: dict[str, tuple[Claim, Attempt]] = {}
    for keys in bulk.key_lists(job_ids):
        connection.execute(_TO_CLAIMED, {"keys": keys})
        for *values, replaced in connection.execute(_CLAIMED, {"keys": keys}).all():
            claim = columns.claim(values)
            found[claim.key.job_id] = claim, _claimed(claim, columns.STATUSES.get(replaced))
    in_order = [found[job_id] for job_id in job_ids]
    return [claim for claim, _ in in_order], [attempt for _, attempt in in_order]


def _claimed(claim: Claim, replaced: JobStatus | None) -> Attempt:
    return Attempt(
        key=claim.key,
        status=JobStatus.CONFIGURING,
        revision=claim.revision,
        function_hash=claim.spec.function_hash,
        replaced=replaced,
        created_at=claim.created_at,
        started_at=None,
        ended_at=None,
        result=None,
    )
