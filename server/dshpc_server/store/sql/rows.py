"""Rows of batches: by position, by index, or the little of each that a follower goes by.

A row that has ended by itself stands as it ended; every other one as the attempt does that stands
for its chain, see `joins.OF_ROW`.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.records import Row, RowState
from dshpc_server.store.sql import bulk, columns, joins, tables

_attempts = tables.attempts.c
_rows = tables.batch_rows.c
STATUS: sqlalchemy.ColumnElement[str] = sqlalchemy.func.coalesce(
    _rows.ended_as,
    _attempts.status,
    sqlalchemy.case((_rows.outcome == Outcome.PENDING.value, JobStatus.BLOCKED.value)),
)
"""`records.Row.status`; NULL for None."""
CHANGED_AT: sqlalchemy.ColumnElement[int] = sqlalchemy.case(
    (
        _rows.ended_as.is_not(None)
        | _attempts.changed_at.is_(None)
        | (_rows.changed_at > _attempts.changed_at),
        _rows.changed_at,
    ),
    else_=_attempts.changed_at,
)
"""`records.RowState.changed_at`."""
ENDED_AT: sqlalchemy.ColumnElement[int] = sqlalchemy.func.coalesce(
    _rows.ended_at, _attempts.ended_at
)
"""When the row ended; NULL for one that has not, and for one that named no job."""
_WHOLE = sqlalchemy.select(*columns.ROW).select_from(joins.OF_ROW)
_STATE = sqlalchemy.select(
    _rows.row_index,
    _rows.outcome,
    STATUS,
    _rows.job_id,
    _rows.attempt,
    _attempts.revision,
    CHANGED_AT,
).select_from(joins.ROW_WITH_ATTEMPT)


def listed(
    connection: sqlalchemy.Connection,
    batch_id: str,
    first_index: int,
    limit: int,
    statuses: Collection[JobStatus],
    outcomes: Collection[Outcome],
) -> Sequence[Row]:
    """Return the next rows that pass, by index."""
    statement = _next(_WHOLE, batch_id, first_index, limit)
    if statuses:
        statement = statement.where(STATUS.in_(sorted(statuses)))
    if outcomes:
        statement = statement.where(_rows.outcome.in_(sorted(outcomes)))
    return [columns.batch_row(row) for row in connection.execute(statement).all()]


def by_index(
    connection: sqlalchemy.Connection, batch_id: str, indexes: Collection[int]
) -> Sequence[Row]:
    """Return those of these rows that there are, by index."""
    return [columns.batch_row(row) for row in _these(connection, _WHOLE, batch_id, indexes)]


def states(
    connection: sqlalchemy.Connection, batch_id: str, first_index: int, limit: int
) -> Sequence[RowState]:
    """Return how the next rows stand, by index."""
    statement = _next(_STATE, batch_id, first_index, limit)
    return [_state(row) for row in connection.execute(statement)]


def states_by_index(
    connection: sqlalchemy.Connection, batch_id: str, indexes: Collection[int]
) -> Sequence[RowState]:
    """Return how those of these rows stand that there are, by index."""
    return [_state(row) for row in _these(connection, _STATE, batch_id, indexes)]


def _next(
    statement: sqlalchemy.Select[Any], batch_id: str, first_index: int, limit: int
) -> sqlalchemy.Select[Any]:
    batches = tables.batches.c
    shown = sqlalchemy.select(batches.batch_id).where(batches.batch_id == batch_id, joins.IS_SHOWN)
    return (
        statement.where(_rows.batch_id == batch_id, _rows.row_index >= first_index, shown.exists())
        .order_by(_rows.row_index)
        .limit(limit)
    )


def _these(
    connection: sqlalchemy.Connection,
    statement: sqlalchemy.Select[Any],
    batch_id: str,
    indexes: Collection[int],
) -> list[sqlalchemy.Row[Any]]:
    wanted = statement.where(
        _rows.batch_id == batch_id, _rows.row_index.in_(joins.INDEXES)
    ).order_by(_rows.row_index)
    return [
        row
        for some in bulk.index_lists(indexes)
        for row in connection.execute(wanted, {"indexes": some})
    ]


def _state(row: Sequence[Any]) -> RowState:
    index, outcome, status, job_id, chain, revision, changed_at = row
    return RowState(
        index=index,
        outcome=columns.OUTCOMES[outcome],
        status=columns.STATUSES_OR_NONE[status],
        chain=None if job_id is None else (job_id, chain),
        revision=revision or 0,
        changed_at=changed_at,
    )
