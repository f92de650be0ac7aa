"""Questions to the store; each is answered from one state of it.

A question is one read transaction on a connection of its own, so that any number of threads ask
while a write is going on.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.port import ActiveAttempt, Attempt, FileRecord, JobRecord, Row
from dshpc_server.store.sql import bulk, columns, database, files, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_rows = tables.batch_rows.c

_NEWEST = tables.jobs.join(
    tables.attempts,
    (_attempts.job_id == _jobs.job_id) & (_attempts.number == _jobs.newest_attempt),
)
ATTEMPT_OF_JOB = tables.attempts.join(tables.jobs, _jobs.job_id == _attempts.job_id)
_OF_ROW = tables.batch_rows.outerjoin(
    tables.attempts, (_attempts.job_id == _rows.job_id) & (_attempts.number == _rows.attempt)
).outerjoin(tables.jobs, _jobs.job_id == _attempts.job_id)
_CLAIMED = sorted(job.IN_PROGRESS - {JobStatus.PENDING, JobStatus.BLOCKED})

KEYS: sqlalchemy.BindParameter[Sequence[str]] = sqlalchemy.bindparam("keys", expanding=True)
# Written out, not as parameters: only so are the partial indexes on them used.
NOT_ENDED = sqlalchemy.text("attempts.ended_at IS NULL")
_WITH_OUTPUT = sqlalchemy.text("attempts.status = 'COMPLETED' AND attempts.output_hash <> ''")
_NEWEST_ATTEMPTS = (
    sqlalchemy.select(*columns.ATTEMPT).select_from(_NEWEST).where(_jobs.job_id.in_(KEYS))
)
# In SQLite, where a writer has the whole store, the lock is left out.
_NEWEST_ATTEMPTS_LOCKED = _NEWEST_ATTEMPTS.order_by(_jobs.job_id).with_for_update(of=tables.jobs)
_JOB = sqlalchemy.select(
    *columns.SPEC,
    *columns.ATTEMPT,
    *columns.ENDING,
    _attempts.engine_job_id,
    _attempts.node,
).select_from(_NEWEST)
_ROWS = sqlalchemy.select(*columns.ROW).select_from(_OF_ROW)


def newest_attempts(
    connection: sqlalchemy.Connection, job_ids: Collection[str], *, lock: bool = False
) -> dict[str, Attempt]:
    """Return the newest attempt of each known job; `lock` keeps other servers off these jobs."""
    statement = _NEWEST_ATTEMPTS_LOCKED if lock else _NEWEST_ATTEMPTS
    return {
        row[0]: columns.attempt(row)
        for keys in bulk.key_lists(job_ids)
        for row in connection.execute(statement, {"keys": keys}).all()
    }


class SqlReader:
    """`store.port.Reader` over one database."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine

    def find_attempts(self, job_ids: Collection[str]) -> Mapping[str, Attempt]:
        """See the port."""
        with database.operating(), self._engine.connect() as connection:
            return newest_attempts(connection, job_ids)

    def find_job(self, job_id: str) -> JobRecord | None:
        """See the port."""
        row = self._one(_JOB.where(_jobs.job_id == job_id))
        if row is None:
            return None
        after_spec = len(columns.SPEC)
        before_ending = after_spec + len(columns.ATTEMPT)
        return JobRecord(
            spec=columns.spec(row[:after_spec]),
            attempt=columns.attempt(row[after_spec:before_ending]),
            ending=columns.ending(row[before_ending:-2]),
            engine_job_id=row[-2],
            node=row[-1],
        )

    def has_batch(self, batch_id: str) -> bool:
        """See the port."""
        batches = tables.batches.c
        statement = sqlalchemy.select(batches.batch_id).where(batches.batch_id == batch_id)
        return self._one(statement) is not None

    def find_rows(
        self,
        batch_id: str,
        *,
        first_index: int,
        limit: int,
        statuses: Collection[JobStatus] = (),
        outcomes: Collection[Outcome] = (),
    ) -> Sequence[Row]:
        """See the port."""
        statement = (
            _ROWS.where(_rows.batch_id == batch_id, _rows.row_index >= first_index)
            .order_by(_rows.row_index)
            .limit(limit)
        )
        if statuses:
            statement = statement.where(_attempts.status.in_(sorted(statuses)))
        if outcomes:
            statement = statement.where(_rows.outcome.in_(sorted(outcomes)))
        with database.operating(), self._engine.connect() as connection:
            return [columns.batch_row(row) for row in connection.execute(statement).all()]

    def find_active(self) -> Sequence[ActiveAttempt]:
        """See the port."""
        statement = (
            sqlalchemy.select(*columns.ACTIVE)
            .select_from(ATTEMPT_OF_JOB)
            .where(NOT_ENDED, _attempts.status.in_(_CLAIMED))
            .order_by(_attempts.created_at, _attempts.queue_index, _attempts.job_id)
        )
        with database.operating(), self._engine.connect() as connection:
            return [columns.active(row) for row in connection.execute(statement).all()]

    def find_output(self, output_hash: str) -> bytes | None:
        """See the port."""
        statement = (
            sqlalchemy.select(_attempts.result)
            .where(_attempts.output_hash == output_hash, _WITH_OUTPUT)
            .limit(1)
        )
        row = self._one(statement)
        return None if row is None else row[0]

    def find_outputs(self, output_hashes: Collection[str]) -> set[str]:
        """See the port."""
        statement = (
            sqlalchemy.select(_attempts.output_hash)
            .distinct()
            .where(_attempts.output_hash.in_(KEYS), _WITH_OUTPUT)
        )
        with database.operating(), self._engine.connect() as connection:
            return {
                row[0]
                for keys in bulk.key_lists(output_hashes)
                for row in connection.execute(statement, {"keys": keys}).all()
            }

    def find_file(self, file_hash: str) -> FileRecord | None:
        """See the port."""
        with database.operating(), self._engine.connect() as connection:
            return files.find(connection, file_hash)

    def _one(self, statement: sqlalchemy.Select[*tuple[Any, ...]]) -> Sequence[Any] | None:
        with database.operating(), self._engine.connect() as connection:
            return connection.execute(statement).one_or_none()
