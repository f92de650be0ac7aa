"""Accepting: a batch is looked up, decided and stored, all rows together.

Safe with several servers on one database, too: jobs found are locked, jobs that are new are
inserted unless another server was quicker, and what it stored is then read back. SQLite gives the
writer the whole store, so there nothing of that ever happens.
"""

from collections.abc import Sequence

import sqlalchemy

from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Outcome
from dshpc_server.store.port import Attempt, Candidate, NewBatch, NewRow, Row
from dshpc_server.store.sql import bulk, columns, files, reader, tables


def accept(
    connection: sqlalchemy.Connection, batch: NewBatch
) -> tuple[Sequence[Row], Sequence[Attempt]]:
    """Store a batch; return its rows and the attempts that are new. See `store.port.Writer`."""
    _insert_batch(connection, batch)
    specs = _specs(batch.rows)
    newest = _find_or_insert_jobs(connection, specs)
    acceptance = _Acceptance(batch, newest)
    rows = [acceptance.decide(row) for row in batch.rows]
    again = [(a.key.number, a.key.job_id) for a in acceptance.new if a.key.number > 1]
    bulk.update(connection, tables.jobs, ["newest_attempt"], again)
    bulk.insert(connection, tables.attempts, _NEW_ATTEMPT, acceptance.attempt_values)
    row_values = [_row_values(batch.batch_id, row) for row in rows]
    bulk.insert(connection, tables.batch_rows, _NEW_ROW, row_values)
    files.touch(connection, batch.file_hashes, batch.created_at)
    return rows, acceptance.new


_NEW_JOB = (*(column.name for column in columns.SPEC), "newest_attempt")
_NEW_ATTEMPT = (
    "job_id",
    "number",
    "status",
    "revision",
    "cpus",
    "memory_bytes",
    "gpus",
    "timeout_seconds",
    "created_at",
    "queue_index",
)
_NEW_ROW = (
    "batch_id",
    "row_index",
    "outcome",
    "old_status",
    "job_id",
    "attempt",
    "head",
    "rejection",
)


class _Acceptance:
    """The decisions about one batch, row after row; each sees what those before it did."""

    def __init__(self, batch: NewBatch, newest: dict[str, Attempt]) -> None:
        self._created_at = batch.created_at
        self._created = columns.moment(batch.created_at)
        self._newest = newest
        self.new: list[Attempt] = []
        self.attempt_values: list[tuple[object, ...]] = []

    def decide(self, row: NewRow) -> Row:
        """Return the row as it is to be stored."""
        if row.candidate is None:
            return _decided(row, Outcome.REJECTED, None, None)
        job_id = row.candidate.spec.job_id
        attempt = self._newest.get(job_id)
        decision = lookup.decide(None if attempt is None else attempt.status)
        if decision.submits:
            attempt = self._new_attempt(row.index, row.candidate, attempt)
        return _decided(row, decision.outcome, decision.old_status, attempt)

    def _new_attempt(self, index: int, candidate: Candidate, before: Attempt | None) -> Attempt:
        spec, needs = candidate.spec, candidate.resources
        number = 1 if before is None else before.key.number + 1
        revision = 1 if before is None else before.revision + 1
        attempt = Attempt(
            key=AttemptKey(job_id=spec.job_id, number=number),
            status=JobStatus.PENDING,
            revision=revision,
            function_hash=spec.function_hash,
            created_at=self._created_at,
            started_at=None,
            ended_at=None,
            result=None,
        )
        self._newest[spec.job_id] = attempt
        self.new.append(attempt)
        self.attempt_values.append(
            (
                spec.job_id,
                number,
                attempt.status.value,
                revision,
                needs.cpus,
                needs.memory_bytes,
                needs.gpus,
                candidate.timeout_seconds,
                self._created,
                index,
            )
        )
        return attempt


def _insert_batch(connection: sqlalchemy.Connection, batch: NewBatch) -> None:
    created = columns.moment(batch.created_at)
    values = (batch.batch_id, batch.display_name, created, len(batch.rows))
    names = ("batch_id", "display_name", "created_at", "row_count")
    if not bulk.insert_absent(connection, tables.batches, names, [values]):
        raise ValueError(f"batch '{batch.batch_id}' exists")


def _specs(rows: Sequence[NewRow]) -> dict[str, JobSpec]:
    """Return what each job is; the first row that names a job says so."""
    specs: dict[str, JobSpec] = {}
    for row in rows:
        if row.candidate is not None:
            specs.setdefault(row.candidate.spec.job_id, row.candidate.spec)
    return specs


def _find_or_insert_jobs(
    connection: sqlalchemy.Connection, specs: dict[str, JobSpec]
) -> dict[str, Attempt]:
    """Return the newest attempts there are; those left out are jobs of our own, without one yet."""
    newest = reader.newest_attempts(connection, specs.keys(), lock=True)
    # Sorted: two servers that insert the same jobs wait for each other, never in a circle.
    absent = sorted(specs.keys() - newest.keys())
    values = [(*columns.spec_values(specs[job_id]), 1) for job_id in absent]
    if bulk.insert_absent(connection, tables.jobs, _NEW_JOB, values) < len(absent):
        newest |= reader.newest_attempts(connection, absent, lock=True)
    return newest


def _decided(
    row: NewRow, outcome: Outcome, old_status: JobStatus | None, attempt: Attempt | None
) -> Row:
    return Row(
        index=row.index,
        head=row.head,
        outcome=outcome,
        old_status=old_status,
        attempt=attempt,
        rejection=row.rejection,
    )


def _row_values(batch_id: str, row: Row) -> tuple[object, ...]:
    key = None if row.attempt is None else row.attempt.key
    return (
        batch_id,
        row.index,
        row.outcome.value,
        None if row.old_status is None else row.old_status.value,
        None if key is None else key.job_id,
        None if key is None else key.number,
        row.head,
        row.rejection,
    )
