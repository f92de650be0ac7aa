"""Cancelling: what waits is ended here, what runs is marked as to be stopped."""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Sequence

import sqlalchemy

from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.records import Attempt, Ending, Report
from dshpc_server.store.sql import bulk, exclusion, joins, reader, recording, stamps, tables

_attempts = tables.attempts.c
_WAITING = (JobStatus.PENDING, JobStatus.BLOCKED)
_MARK = (
    sqlalchemy.update(tables.attempts)
    .where(_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED, _attempts.cancel_reason.is_(None))
    .values(cancel_reason=sqlalchemy.bindparam("why"))
)


def cancel(
    connection: sqlalchemy.Connection,
    job_ids: Collection[str],
    reason: str,
    end: Callable[[Attempt], Ending],
    at: datetime.datetime,
    server_id: str,
    now: Callable[[], int],
    *,
    stamp: stamps.Stamp,
) -> tuple[Sequence[Attempt], Sequence[Attempt]]:
    """Have attempts stopped; return the newest ones, and those that changed. See the port."""
    exclusion.hold_jobs(connection, set(job_ids))
    for keys in bulk.key_lists(set(job_ids)):
        connection.execute(_MARK, {"keys": keys, "why": reason})
    newest = reader.newest_attempts(connection, set(job_ids))
    reports = [
        Report(key=attempt.key, event=Event.CANCELLED, at=at, ending=end(_cancelled(attempt, at)))
        for attempt in newest.values()
        if attempt.status in _WAITING
    ]
    changes = recording.record(connection, reports, server_id, now, stamp)
    newest |= {attempt.key.job_id: attempt for attempt in changes}
    return [newest[job_id] for job_id in job_ids if job_id in newest], changes


def _cancelled(attempt: Attempt, at: datetime.datetime) -> Attempt:
    """Return an attempt as it is about to be, but for the result that is made of it."""
    return dataclasses.replace(
        attempt, status=JobStatus.CANCELLED, revision=attempt.revision + 1, ended_at=at
    )
