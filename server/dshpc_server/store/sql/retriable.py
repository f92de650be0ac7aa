"""Rows that can be asked for again: those that ended and are not COMPLETED."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus
from dshpc_server.store.records import RetriableRow, RetriedJob
from dshpc_server.store.sql import columns, joins, rows, tables

_attempts = tables.attempts.c
_rows = tables.batch_rows.c
_SPEC_BEGINS = 3
_SPEC_ENDS = _SPEC_BEGINS + len(columns.SPEC)
_RESOURCES_END = _SPEC_ENDS + len(columns.RESOURCES)
_FIND = (
    sqlalchemy.select(
        _rows.head,
        _rows.priority,
        _rows.config,
        *columns.SPEC,
        *columns.RESOURCES,
        _attempts.timeout_seconds,
    )
    .select_from(joins.OF_ROW.join(tables.batches, tables.batches.c.batch_id == _rows.batch_id))
    .where(
        joins.IS_SHOWN,
        _rows.batch_id == sqlalchemy.bindparam("batch"),
        rows.STATUS.is_(None) | rows.STATUS.in_(sorted(job.TERMINAL - {JobStatus.COMPLETED})),
        _rows.job_id.is_not(None) | _rows.config.is_not(None),
    )
    .order_by(_rows.row_index)
)


def find(connection: sqlalchemy.Connection, batch_id: str) -> Sequence[RetriableRow]:
    """Return them by index. See `store.port.Reader`."""
    return [_row(row) for row in connection.execute(_FIND, {"batch": batch_id})]


def _row(row: Sequence[Any]) -> RetriableRow:
    head, priority, config = row[:_SPEC_BEGINS]
    is_of_job = row[_SPEC_BEGINS] is not None
    return RetriableRow(
        head=head,
        priority=priority,
        job=_job(row) if is_of_job else None,
        config=None if is_of_job else config,
    )


def _job(row: Sequence[Any]) -> RetriedJob:
    return RetriedJob(
        spec=columns.spec(row[_SPEC_BEGINS:_SPEC_ENDS]),
        resources=columns.resources(row[_SPEC_ENDS:_RESOURCES_END]),
        timeout_seconds=row[_RESOURCES_END],
    )
