"""The rules of the tables: each with the statement that yields what breaks it.

The rules that the schema holds (checks, keys, references) are among them, for a database that was
changed by hand, or restored, may have lost them; the others are those of `store.port` that no
schema can say. The same statements serve every database.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store.sql import invariants_runs, invariants_waiting, tables
from dshpc_server.store.sql.invariants_runs import SqlRule, rule

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_rows = tables.batch_rows.c
_batches = tables.batches.c
_files = tables.files.c
# What parts of keys are called where something is told.
_PARTS = {
    "job_id": "job",
    "number": "attempt",
    "batch_id": "batch",
    "row_index": "row",
    "piece_number": "piece",
    "file_hash": "file",
    "server_id": "server",
    "is_only": "deployment",
    "position": "dependency",
}
_ROW = (_rows.batch_id.label("batch"), _rows.row_index.label("row"))
_SUBMITTING = (Outcome.SUBMITTED.value, Outcome.RESUBMITTED.value)
_first = tables.attempts.alias("first")
_shown = tables.attempts.alias("shown")
_ROWS_WITH_FIRST = tables.batch_rows.join(
    _first, (_first.c.job_id == _rows.job_id) & (_first.c.number == _rows.attempt)
)
_ROWS_WITH_SHOWN = tables.batch_rows.join(
    _shown,
    (_shown.c.job_id == _rows.job_id)
    & (_shown.c.chain == _rows.attempt)
    & (_shown.c.is_retried == 0),
)


def _counted(*where: ColumnElement[bool]) -> sqlalchemy.ScalarSelect[int]:
    return (
        sqlalchemy.select(sqlalchemy.func.count())
        .select_from(tables.batch_rows)
        .where(*where)
        .scalar_subquery()
    )


def _asked_for() -> sqlalchemy.Select[str]:
    """Attempts that requests submitted, and not exactly one row each."""
    asking = (
        sqlalchemy.select(_rows.job_id, _rows.attempt, sqlalchemy.func.count().label("rows"))
        .where(_rows.outcome.in_(_SUBMITTING))
        .group_by(_rows.job_id, _rows.attempt)
        .subquery("asking")
    )
    joined = tables.attempts.outerjoin(
        asking, (asking.c.job_id == _attempts.job_id) & (asking.c.attempt == _attempts.number)
    )
    return (
        sqlalchemy.select(_attempts.job_id.label("job"), _attempts.number.label("attempt"))
        .select_from(joined)
        .where(_attempts.chain == _attempts.number)
        .where(sqlalchemy.func.coalesce(asking.c.rows, 0) != 1)
    )


_of_batch = _rows.batch_id == _batches.batch_id
_last_row = (
    sqlalchemy.select(sqlalchemy.func.max(_rows.row_index)).where(_of_batch).scalar_subquery()
)
_left = (
    sqlalchemy.select(
        sqlalchemy.func.coalesce(sqlalchemy.func.sum(tables.staged_pieces.c.row_count), 0)
    )
    .where(tables.staged_pieces.c.batch_id == _batches.batch_id)
    .scalar_subquery()
)
_OF_ROWS = (
    rule(
        "batch_has_its_rows",
        "the batch has not the rows that were acknowledged",
        sqlalchemy.select(_batches.batch_id.label("batch")).where(
            (_counted(_of_batch) != _batches.row_count - _batches.staged_rows)
            | (
                (_batches.staged_rows == 0)
                & (sqlalchemy.func.coalesce(_last_row, -1) != _batches.row_count - 1)
            )
        ),
    ),
    rule(
        "staged_rows_are_there",
        "rows of the batch that are still to be accepted are not there",
        sqlalchemy.select(_batches.batch_id.label("batch")).where(
            _batches.staged_rows > 0, _batches.staged_rows != _left
        ),
    ),
    rule(
        "row_names_a_chain",
        "the row is tied to an attempt that is the retry of another",
        sqlalchemy.select(*_ROW)
        .select_from(_ROWS_WITH_FIRST)
        .where(_first.c.chain != _first.c.number),
    ),
    rule(
        "row_shows_one_attempt",
        "of the row's chain not exactly one attempt stands for it",
        sqlalchemy.select(*_ROW)
        .select_from(_ROWS_WITH_FIRST)
        .where(
            sqlalchemy.select(sqlalchemy.func.count())
            .select_from(_shown)
            .where(
                _shown.c.job_id == _rows.job_id,
                _shown.c.chain == _rows.attempt,
                _shown.c.is_retried == 0,
            )
            .scalar_subquery()
            != 1
        ),
    ),
    rule(
        "row_tells_what_was_replaced",
        "old_status is not that of the attempt which the row's attempt replaced",
        sqlalchemy.select(*_ROW)
        .select_from(_ROWS_WITH_FIRST)
        .where(_rows.outcome.in_([*_SUBMITTING, Outcome.FOUND_IN_PROGRESS.value]))
        .where(_rows.old_status.is_distinct_from(_first.c.replaced)),
    ),
    rule(
        "row_tells_what_was_kept",
        "the failure that was kept is another one",
        sqlalchemy.select(*_ROW)
        .select_from(_ROWS_WITH_SHOWN)
        .where(_rows.outcome == Outcome.FAILURE_KEPT.value)
        .where(_rows.old_status.is_distinct_from(_shown.c.status)),
    ),
    rule(
        "row_found_what_completed",
        "the row found a completed job, and its attempt has not completed",
        sqlalchemy.select(*_ROW)
        .select_from(_ROWS_WITH_SHOWN)
        .where(_rows.outcome == Outcome.FOUND_COMPLETED.value)
        .where(_shown.c.status != JobStatus.COMPLETED.value),
    ),
    rule(
        "run_was_asked_for_once",
        "not exactly one row submitted the attempt",
        _asked_for(),
    ),
)
_OF_FILES = (
    rule(
        "deletion_is_finished",
        "its deletion has begun and was not finished; a server does that, or --repair",
        sqlalchemy.select(_files.file_hash.label("file")).where(_files.is_deleting == 1),
        is_note=True,
    ),
)


def _of_schema() -> Iterator[SqlRule]:
    """The rules that the tables' definitions hold, under the names they have there."""
    for table in tables.metadata.sorted_tables:
        key = [column.label(_PARTS[column.name]) for column in table.primary_key]
        for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
            if isinstance(constraint, sqlalchemy.CheckConstraint):
                refused: Any = sqlalchemy.text(f"NOT ({constraint.sqltext})")
            elif isinstance(constraint, sqlalchemy.ForeignKeyConstraint):
                refused = _without_target(constraint)
            else:
                continue
            statement = sqlalchemy.select(*key).select_from(table).where(refused)
            yield rule(str(constraint.name), "it breaks a rule of the tables", statement)


def _without_target(constraint: sqlalchemy.ForeignKeyConstraint) -> ColumnElement[bool]:
    pairs = [(element.parent, element.column) for element in constraint.elements]
    target = sqlalchemy.select(sqlalchemy.literal(1)).where(*(a == b for a, b in pairs))
    named = sqlalchemy.and_(*(column.is_not(None) for column, _ in pairs))
    return named & ~target.exists()


SQL_RULES: Mapping[str, SqlRule] = {
    each.rule.name: each
    for each in (
        *invariants_runs.RULES,
        *_OF_ROWS,
        *invariants_waiting.RULES,
        *_OF_FILES,
        *_of_schema(),
    )
}
"""Every rule that a statement looks after."""
ABOUT_SERVERS = frozenset(each.rule.name for each in invariants_runs.OWNERS)
"""Those that are told which servers are dead."""
