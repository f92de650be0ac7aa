"""Jobs as they are shown: one with all its attempts, or many with the newest of each."""

from collections.abc import Collection, Sequence

import sqlalchemy

from dshpc_server.domain.job import JobStatus
from dshpc_server.store.records import JobRecord, ListPosition
from dshpc_server.store.sql import columns, joins, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_SPEC_ENDS = len(columns.SPEC)
_ONE = (
    sqlalchemy.select(*columns.SPEC, *columns.RECORD)
    .select_from(joins.ATTEMPT_OF_JOB)
    .order_by(_attempts.number)
)
_NEWEST_FIRST = (_attempts.created_at, _attempts.job_id)
_LISTED = (
    sqlalchemy.select(*columns.SPEC, *columns.RECORD)
    .select_from(joins.NEWEST)
    .order_by(*(each.desc() for each in _NEWEST_FIRST))
)


def find(connection: sqlalchemy.Connection, job_id: str) -> JobRecord | None:
    """Return a job with its attempts."""
    rows = connection.execute(_ONE.where(_jobs.job_id == job_id)).all()
    if not rows:
        return None
    records = [columns.record(row[_SPEC_ENDS:]) for row in rows]
    return JobRecord(spec=columns.spec(rows[0][:_SPEC_ENDS]), newest=records[-1], attempts=records)


def listed(
    connection: sqlalchemy.Connection,
    after: ListPosition | None,
    limit: int,
    statuses: Collection[JobStatus],
    method_name: str,
) -> Sequence[JobRecord]:
    """Return the next jobs that pass, the newest first."""
    statement = _LISTED.limit(limit)
    if after is not None:
        position = (columns.moment(after.at), after.name)
        statement = statement.where(sqlalchemy.tuple_(*_NEWEST_FIRST) < position)
    if statuses:
        statement = statement.where(_attempts.status.in_(sorted(statuses)))
    if method_name:
        statement = statement.where(_jobs.method_name == method_name)
    return [
        JobRecord(
            spec=columns.spec(row[:_SPEC_ENDS]),
            newest=columns.record(row[_SPEC_ENDS:]),
            attempts=(),
        )
        for row in connection.execute(statement).all()
    ]
