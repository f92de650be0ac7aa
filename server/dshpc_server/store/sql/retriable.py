"""Rows that can be asked for again: those that ended and are not COMPLETED, or wait for others."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.store.records import RetriableRow, RetriedJob
from dshpc_server.store.sql import bulk, columns, joins, rows, tables, undecided

_attempts = tables.attempts.c
_rows = tables.batch_rows.c
_SPEC_BEGINS = 6
_SPEC_ENDS = _SPEC_BEGINS + len(columns.SPEC)
_RESOURCES_END = _SPEC_ENDS + len(columns.RESOURCES)
_STATUSES = {*job.TERMINAL, JobStatus.BLOCKED} - {JobStatus.COMPLETED}
_FIND = (
    sqlalchemy.select(
        _rows.row_index,
        _rows.outcome,
        _rows.head,
        _rows.priority,
        _rows.config,
        _rows.comes_after,
        *columns.SPEC,
        *columns.RESOURCES,
        _attempts.timeout_seconds,
    )
    .select_from(joins.OF_ROW.join(tables.batches, tables.batches.c.batch_id == _rows.batch_id))
    .where(
        joins.IS_SHOWN,
        _rows.batch_id == sqlalchemy.bindparam("batch"),
        rows.STATUS.is_(None) | rows.STATUS.in_(sorted(_STATUSES)),
        _rows.job_id.is_not(None) | _rows.config.is_not(None),
    )
    .order_by(_rows.row_index)
)
_COMPLETED = sqlalchemy.select(_attempts.job_id, _attempts.chain).where(
    _attempts.job_id.in_(joins.KEYS), _attempts.status == JobStatus.COMPLETED.value
)


def find(connection: sqlalchemy.Connection, batch_id: str) -> Sequence[RetriableRow]:
    """Return them by index. See `store.port.Reader`."""
    return [_row(row) for row in connection.execute(_FIND, {"batch": batch_id})]


def completed(connection: sqlalchemy.Connection, chains: Collection[AttemptKey]) -> set[AttemptKey]:
    """Return which of these have COMPLETED. See `store.port.Reader`."""
    found = {
        AttemptKey(job_id=job_id, number=chain)
        for keys in bulk.key_lists({each.job_id for each in chains})
        for job_id, chain in connection.execute(_COMPLETED, {"keys": keys})
    }
    return found.intersection(chains)


def _row(row: Sequence[Any]) -> RetriableRow:
    index, outcome, head, priority, config, comes_after = row[:_SPEC_BEGINS]
    return RetriableRow(
        index=index,
        has_ended=outcome != Outcome.PENDING.value,
        head=head,
        priority=priority,
        job=None if row[_SPEC_BEGINS] is None else _job(row),
        config=config,
        dependencies=undecided.read(comes_after),
    )


def _job(row: Sequence[Any]) -> RetriedJob:
    return RetriedJob(
        spec=columns.spec(row[_SPEC_BEGINS:_SPEC_ENDS]),
        resources=columns.resources(row[_SPEC_ENDS:_RESOURCES_END]),
        timeout_seconds=row[_RESOURCES_END],
    )
