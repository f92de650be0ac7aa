"""Questions to the store; each is answered from one state of it.

A question is one read transaction on a connection of its own, so that any number of threads ask
while a write is going on.
"""

import contextlib
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence

import sqlalchemy

from dshpc_server import clock
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.store.records import (
    AcceptedRequest,
    ActiveAttempt,
    Attempt,
    BatchRecord,
    BatchTally,
    FileRecord,
    JobRecord,
    ListPosition,
    NewBatch,
    NextPiece,
    RetriableRow,
    Row,
    RowState,
    ServerRecord,
    StrandedBatch,
)
from dshpc_server.store.sql import (
    accepting,
    availability,
    batches,
    bulk,
    columns,
    database_clock,
    failure_limits,
    files,
    jobs,
    joins,
    named_requests,
    outputs,
    retriable,
    rows,
    servers,
    staging,
    tables,
    undecided,
)

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_NEWEST_ATTEMPTS = (
    sqlalchemy.select(*columns.ATTEMPT)
    .select_from(joins.NEWEST)
    .where(_jobs.job_id.in_(joins.KEYS))
)
# Not by the index of what is listed, which holds all that ever ran (so the plus): few are active.
_ACTIVE = (
    sqlalchemy.select(*columns.ACTIVE)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(joins.NOT_ENDED, _attempts.owner == sqlalchemy.bindparam("server"))
    .order_by(sqlalchemy.text("+attempts.created_at"), _attempts.queue_index, _attempts.job_id)
)
_ALL_ATTEMPTS = (
    sqlalchemy.select(*columns.ATTEMPT)
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_attempts.job_id.in_(joins.KEYS))
    .order_by(_attempts.job_id, _attempts.number)
)


def newest_attempts(
    connection: sqlalchemy.Connection, job_ids: Collection[str]
) -> dict[str, Attempt]:
    """Return the newest attempt of each known job."""
    return {
        row[0]: columns.attempt(row)
        for keys in bulk.key_lists(job_ids)
        for row in connection.execute(_NEWEST_ATTEMPTS, {"keys": keys}).all()
    }


def active_attempts(connection: sqlalchemy.Connection, server_id: str) -> list[ActiveAttempt]:
    """Return what this server owns and has not ended, the oldest first."""
    found = connection.execute(_ACTIVE, {"server": server_id}).all()
    return [columns.active(row) for row in found]


class SqlReader:
    """`store.port.Reader` over one database, for one server."""

    def __init__(self, engine: sqlalchemy.Engine, clock: clock.Clock, server_id: str) -> None:
        self._engine = engine
        self._clock = clock
        self._availability = availability.Availability(clock)
        self._server_id = server_id

    def find_attempts(self, job_ids: Collection[str]) -> Mapping[str, Attempt]:
        """See the port."""
        with self._asking() as connection:
            return newest_attempts(connection, job_ids)

    def find_all_attempts(self, job_ids: Collection[str]) -> Sequence[Attempt]:
        """See the port."""
        with self._asking() as connection:
            return [
                columns.attempt(row)
                for keys in bulk.key_lists(job_ids)
                for row in connection.execute(_ALL_ATTEMPTS, {"keys": keys}).all()
            ]

    def preview(self, batch: NewBatch) -> Sequence[Row]:
        """See the port."""
        with self._asking() as connection:
            return accepting.preview(connection, batch)

    def find_job(self, job_id: str) -> JobRecord | None:
        """See the port."""
        with self._asking() as connection:
            return jobs.find(connection, job_id)

    def find_jobs(
        self,
        *,
        after: ListPosition | None,
        limit: int,
        statuses: Collection[JobStatus] = (),
        method_name: str = "",
    ) -> Sequence[JobRecord]:
        """See the port."""
        with self._asking() as connection:
            return jobs.listed(connection, after, limit, statuses, method_name)

    def find_kept_outputs(self, job_ids: Collection[str]) -> set[str]:
        """See the port."""
        with self._asking() as connection:
            return outputs.kept(connection, job_ids)

    def has_batch(self, batch_id: str) -> bool:
        """See the port."""
        return self.find_batch(batch_id) is not None

    def has_staged_rows(self, batch_id: str) -> bool:
        """See the port."""
        with self._asking() as connection:
            return staging.has_rows(connection, batch_id)

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """See the port."""
        with self._asking() as connection:
            return batches.find(connection, batch_id)

    def find_batches(self, *, after: ListPosition | None, limit: int) -> Sequence[BatchRecord]:
        """See the port."""
        with self._asking() as connection:
            return batches.listed(connection, after, limit)

    def find_failure_limits(
        self, job_ids: Collection[str] | None, *, batch_ids: Collection[str] = ()
    ) -> Mapping[str, int]:
        """See the port."""
        with self._asking() as connection:
            return failure_limits.find(connection, job_ids, batch_ids)

    def find_tallies(self, batch_ids: Collection[str]) -> Mapping[str, BatchTally]:
        """See the port."""
        with self._asking() as connection:
            return batches.tallies(connection, batch_ids)

    def find_request(self, request_id: str) -> AcceptedRequest | None:
        """See the port."""
        with self._asking() as connection:
            return named_requests.find(connection, request_id)

    def find_next_piece(self, batch_id: str, after: int = -1) -> NextPiece | None:
        """See the port."""
        with self._asking() as connection:
            return staging.find_next(connection, batch_id, after)

    def find_stranded_batches(self) -> Sequence[StrandedBatch]:
        """See the port."""
        with self._asking() as connection:
            return staging.find_stranded(connection)

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
        with self._asking() as connection:
            return rows.listed(connection, batch_id, first_index, limit, statuses, outcomes)

    def find_rows_by_index(self, batch_id: str, indexes: Collection[int]) -> Sequence[Row]:
        """See the port."""
        with self._asking() as connection:
            return rows.by_index(connection, batch_id, indexes)

    def find_row_states(self, batch_id: str, *, first_index: int, limit: int) -> Sequence[RowState]:
        """See the port."""
        with self._asking() as connection:
            return rows.states(connection, batch_id, first_index, limit)

    def find_row_states_by_index(
        self, batch_id: str, indexes: Collection[int]
    ) -> Sequence[RowState]:
        """See the port."""
        with self._asking() as connection:
            return rows.states_by_index(connection, batch_id, indexes)

    def has_undecided(self) -> bool:
        """See the port."""
        with self._asking() as connection:
            return undecided.are_there(connection)

    def find_retriable_rows(self, batch_id: str) -> Sequence[RetriableRow]:
        """See the port."""
        with self._asking() as connection:
            return retriable.find(connection, batch_id)

    def find_completed(self, chains: Collection[AttemptKey]) -> set[AttemptKey]:
        """See the port."""
        with self._asking() as connection:
            return retriable.completed(connection, chains)

    def find_active(self) -> Sequence[ActiveAttempt]:
        """See the port."""
        with self._asking() as connection:
            return active_attempts(connection, self._server_id)

    def find_servers(self) -> Sequence[ServerRecord]:
        """See the port."""
        with self._asking() as connection:
            return servers.found(connection, database_clock.now(connection, self._clock))

    def find_deleting(self) -> Sequence[str]:
        """See the port."""
        with self._asking() as connection:
            return files.deleting(connection)

    def find_unused_files(self, *, before: datetime.datetime, limit: int) -> Sequence[FileRecord]:
        """See the port."""
        with self._asking() as connection:
            return files.unused(connection, before, limit)

    def find_output(self, output_hash: str) -> Attempt | None:
        """See the port."""
        with self._asking() as connection:
            return outputs.find(connection, output_hash)

    def find_outputs(self, output_hashes: Collection[str]) -> set[str]:
        """See the port."""
        with self._asking() as connection:
            return outputs.inline(connection, output_hashes)

    def find_file(self, file_hash: str) -> FileRecord | None:
        """See the port."""
        with self._asking() as connection:
            return files.find(connection, file_hash)

    def find_files(self, *, after: ListPosition | None, limit: int) -> Sequence[FileRecord]:
        """See the port."""
        with self._asking() as connection:
            return files.listed(connection, after, limit)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[sqlalchemy.Connection]:
        with self._availability.asking(), self._engine.connect() as connection:
            yield connection
