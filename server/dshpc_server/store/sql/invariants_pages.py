"""What a store holds, page by page, as `store.inspection` asks for it."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy

from dshpc_server.domain.job import AttemptKey
from dshpc_server.store.inspection import (
    ActiveJob,
    StoreCounts,
    StoredBatch,
    StoredFile,
    StoredJob,
    StoredResult,
    UnreadableError,
)
from dshpc_server.store.sql import batches, bulk, invariants_schema, joins, rows, store, tables

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_rows = tables.batch_rows.c
_batches = tables.batches.c
_files = tables.files.c
_JOBS = sqlalchemy.select(
    _jobs.job_id, _jobs.function_hash, _jobs.inputs, _jobs.parameters_json
).where(_jobs.job_id.in_(joins.KEYS))
_RESULTS = sqlalchemy.select(
    _attempts.job_id,
    _attempts.number,
    _attempts.status,
    _attempts.result,
    _attempts.output_hash,
    _attempts.output_size_bytes,
    _attempts.output_is_inline,
).where(_attempts.job_id.in_(joins.KEYS), _attempts.result.is_not(None))
_BATCHES = sqlalchemy.select(_batches.batch_id, _batches.row_count, _batches.tally).where(
    _batches.batch_id.in_(joins.KEYS)
)
_ALIKE = (
    sqlalchemy.select(
        _rows.batch_id, _rows.outcome, rows.STATUS, sqlalchemy.func.count().label("rows")
    )
    .select_from(joins.ROW_WITH_ATTEMPT)
    .where(_rows.batch_id.in_(joins.KEYS))
    .group_by(_rows.batch_id, _rows.outcome, rows.STATUS)
)
_FILES = sqlalchemy.select(_files.file_hash, _files.size_bytes, _files.is_deleting).where(
    _files.file_hash.in_(joins.KEYS)
)
_KEYS = sqlalchemy.select(_attempts.job_id, _attempts.number).where(
    _attempts.job_id.in_(joins.KEYS)
)
_ACTIVE = (
    sqlalchemy.select(
        _attempts.job_id,
        _attempts.number,
        _attempts.status,
        _jobs.method_name,
        _jobs.function_hash,
        _jobs.inputs,
    )
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED)
)
_AFTER: sqlalchemy.BindParameter[str] = sqlalchemy.bindparam("after", type_=sqlalchemy.Text)


class SqlPages(store.SqlStore):
    """A store of which everything can be asked, a part at a time."""

    def count(self) -> StoreCounts:
        """See the port."""
        counted = (tables.jobs, tables.attempts, tables.batches, tables.batch_rows)
        with self._asking() as connection:
            jobs, attempts, batches, rows = (
                connection.execute(
                    sqlalchemy.select(sqlalchemy.func.count()).select_from(table)
                ).scalar_one()
                for table in counted
            )
        return StoreCounts(jobs=jobs, attempts=attempts, batches=batches, rows=rows)

    def job_ids(self, after: str, limit: int) -> Sequence[str]:
        """See the port."""
        return self._page(_jobs.job_id, after, limit)

    def jobs(self, job_ids: Collection[str]) -> Sequence[StoredJob]:
        """See the port."""
        return [
            StoredJob(
                job_id=job_id,
                function_hash=function_hash,
                inputs=inputs,
                parameters_json=parameters_json,
            )
            for job_id, function_hash, inputs, parameters_json in self._of(_JOBS, job_ids)
        ]

    def results(self, job_ids: Collection[str]) -> Sequence[StoredResult]:
        """See the port."""
        return [
            StoredResult(
                key=AttemptKey(job_id=job_id, number=number),
                status=status,
                result=result,
                output_hash=output_hash,
                output_size_bytes=size_bytes,
                output_is_inline=is_inline == 1,
            )
            for job_id, number, status, result, output_hash, size_bytes, is_inline in self._of(
                _RESULTS, job_ids
            )
        ]

    def batch_ids(self, after: str, limit: int) -> Sequence[str]:
        """See the port."""
        return self._page(_batches.batch_id, after, limit)

    def batches(self, batch_ids: Collection[str]) -> Sequence[StoredBatch]:
        """See the port."""
        alike: dict[str, list[tuple[str, str | None, int]]] = {}
        for batch_id, outcome, status, count in self._of(_ALIKE, batch_ids):
            alike.setdefault(batch_id, []).append((outcome, status, count))
        return [
            StoredBatch(
                batch_id=batch_id,
                row_count=row_count,
                rows=alike.get(batch_id, ()),
                kept_rows=None if tally is None else batches.kept_rows(tally),
            )
            for batch_id, row_count, tally in self._of(_BATCHES, batch_ids)
        ]

    def file_hashes(self, after: str, limit: int) -> Sequence[str]:
        """See the port."""
        return self._page(_files.file_hash, after, limit)

    def files(self, file_hashes: Collection[str]) -> Mapping[str, StoredFile]:
        """See the port."""
        return {
            file_hash: StoredFile(
                file_hash=file_hash, size_bytes=size_bytes, is_deleting=is_deleting == 1
            )
            for file_hash, size_bytes, is_deleting in self._of(_FILES, file_hashes)
        }

    def attempts(self, job_ids: Collection[str]) -> set[AttemptKey]:
        """See the port."""
        return {
            AttemptKey(job_id=job_id, number=number) for job_id, number in self._of(_KEYS, job_ids)
        }

    def active_ids(self, after: str, limit: int) -> Sequence[str]:
        """See the port."""
        return self._page(_attempts.job_id, after, limit, joins.NOT_ENDED)

    def active(self, job_ids: Collection[str]) -> Sequence[ActiveJob]:
        """See the port."""
        return [
            ActiveJob(
                key=AttemptKey(job_id=job_id, number=number),
                status=status,
                method_name=method_name,
                function_hash=function_hash,
                inputs=inputs,
            )
            for job_id, number, status, method_name, function_hash, inputs in self._of(
                _ACTIVE, job_ids
            )
        ]

    @contextlib.contextmanager
    def _asking(self) -> Iterator[sqlalchemy.Connection]:
        with super()._asking() as connection:
            try:
                yield connection
            except sqlalchemy.exc.DBAPIError as error:
                if invariants_schema.is_damage(error):
                    raise UnreadableError from error
                raise

    def _page(
        self,
        key: sqlalchemy.Column[str],
        after: str,
        limit: int,
        *where: sqlalchemy.TextClause,
    ) -> Sequence[str]:
        statement = sqlalchemy.select(key).where(key > _AFTER, *where).order_by(key).limit(limit)
        with self._asking() as connection:
            return [str(each) for each in connection.execute(statement, {"after": after}).scalars()]

    def _of(self, statement: sqlalchemy.Select[Any], keys: Collection[str]) -> list[Any]:
        with self._asking() as connection:
            return [
                row
                for each in bulk.key_lists(keys)
                for row in connection.execute(statement, {"keys": each}).all()
            ]
