"""Which attempt answers, what a row asked for, why something was stopped, where an output lies.

Of what a store of 0001 holds, every newest attempt answers; a number above 1 stood for a failure
made good; and a result that does not say that its output was cut holds it.
"""

from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy
from alembic import op
from alembic.operations.base import BatchOperations
from sqlalchemy import Column, Integer, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NOT_COMPLETED = (
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "PREEMPTED",
    "SKIPPED",
)
_WITH_OLD_STATUS = ("RESUBMITTED", "FAILURE_KEPT")
_WITH_ATTEMPT = (
    "FOUND_COMPLETED",
    "FOUND_IN_PROGRESS",
    "SUBMITTED",
    *_WITH_OLD_STATUS,
    "WITHHELD",
    "PENDING",
)
_KEPT = ("ONLY", "NEVER", "PERMANENT", "MAX_ATTEMPTS")
_WITH_OUTPUT = "status = 'COMPLETED' AND output_hash <> ''"
# A result with its output cut (too long, or no text) says so right after the output's hash and
# size: with these two bytes, which nothing else there can be. Only SQLite had stores of 0001.
_IS_INLINE = (
    f"{_WITH_OUTPUT} AND length(result) > output_size_bytes AND instr(substr(result,"
    " instr(result, CAST(output_hash AS BLOB)) + 64, 12), x'5801') = 0"
)


def upgrade() -> None:
    """Change them, and fill in what is new."""
    _jobs()
    _attempts()
    _attempt_indexes()
    _batch_rows()
    _files()


def _one_of(column: str, words: tuple[str, ...]) -> str:
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


def _changing(table: str) -> AbstractContextManager[BatchOperations]:
    """Change a table; in SQLite, which knows no other way, it is copied, once for all changes."""
    return op.batch_alter_table(table, recreate="always" if _is_sqlite() else "never")


def _after(column: str) -> dict[str, Any]:
    """Say where a new column lies, where that can be said: long ones stay last."""
    return {"insert_after": column} if _is_sqlite() else {}


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _jobs() -> None:
    with _changing("jobs") as jobs:
        jobs.add_column(Column("answering_attempt", Integer))
        jobs.add_column(Column("counted_from", Integer, nullable=False, server_default="1"))
        jobs.create_check_constraint(
            op.f("ck_jobs_answering_attempt_is_one"),
            sqlalchemy.text(
                "answering_attempt IS NULL OR answering_attempt BETWEEN 1 AND newest_attempt"
            ),
        )
        jobs.create_check_constraint(
            op.f("ck_jobs_counted_from_is_an_attempt"),
            sqlalchemy.text("counted_from BETWEEN 1 AND newest_attempt"),
        )
    op.execute("UPDATE jobs SET answering_attempt = newest_attempt")


def _attempts() -> None:
    with _changing("attempts") as attempts:
        attempts.add_column(Column("replaced", Text), **_after("timeout_seconds"))
        attempts.add_column(
            Column("is_bypass", Integer, nullable=False, server_default="0"),
            **_after("replaced"),
        )
        attempts.add_column(
            Column("output_is_inline", Integer, nullable=False, server_default="0"),
            **_after("output_size_bytes"),
        )
        attempts.add_column(Column("cancel_reason", Text), **_after("output_is_inline"))
        attempts.create_check_constraint(
            op.f("ck_attempts_replaced_what_failed"),
            sqlalchemy.text(
                f"replaced IS NULL OR (number > 1 AND {_one_of('replaced', _NOT_COMPLETED)})"
            ),
        )
        attempts.create_check_constraint(
            op.f("ck_attempts_is_bypass_or_not"), sqlalchemy.text("is_bypass = 0 OR is_bypass = 1")
        )
        attempts.create_check_constraint(
            op.f("ck_attempts_output_is_inline_or_not"),
            sqlalchemy.text("output_is_inline = 0 OR (output_is_inline = 1 AND output_hash <> '')"),
        )
    op.execute(
        "UPDATE attempts SET replaced = (SELECT before.status FROM attempts AS before"
        " WHERE before.job_id = attempts.job_id AND before.number = attempts.number - 1)"
        " WHERE number > 1"
    )
    if _is_sqlite():
        op.execute(f"UPDATE attempts SET output_is_inline = 1 WHERE {_IS_INLINE}")  # noqa: S608 (own words)


def _attempt_indexes() -> None:
    op.drop_index("ix_attempts_output", "attempts")
    partial = {
        "ix_attempts_output": (["output_hash", "output_is_inline"], _WITH_OUTPUT),
        "ix_attempts_kept_output": (
            ["job_id", "number", "output_hash"],
            f"{_WITH_OUTPUT} AND output_is_inline = 0",
        ),
    }
    for name, (columns, condition) in partial.items():
        op.create_index(
            name,
            "attempts",
            columns,
            sqlite_where=sqlalchemy.text(condition),
            postgresql_where=sqlalchemy.text(condition),
        )
    op.create_index("ix_attempts_listed", "attempts", ["created_at", "queue_index", "job_id"])


def _batch_rows() -> None:
    with_old_status = _one_of("outcome", _WITH_OLD_STATUS)
    may_have_old_status = _one_of("outcome", ("FOUND_IN_PROGRESS", *_WITH_OLD_STATUS))
    with _changing("batch_rows") as rows:
        rows.drop_constraint(op.f("ck_batch_rows_attempt_or_rejection"), type_="check")
        rows.drop_constraint(op.f("ck_batch_rows_old_status_when_replaced_or_kept"), type_="check")
        rows.add_column(Column("kept", Text), **_after("old_status"))
        rows.create_check_constraint(
            op.f("ck_batch_rows_attempt_or_none"),
            sqlalchemy.text(
                "(job_id IS NOT NULL AND attempt IS NOT NULL AND rejection IS NULL"
                f" AND {_one_of('outcome', _WITH_ATTEMPT)})"
                " OR (job_id IS NULL AND attempt IS NULL AND ((rejection IS NULL"
                " AND outcome = 'NOT_FOUND')"
                " OR (rejection IS NOT NULL AND outcome = 'REJECTED')))"
            ),
        )
        rows.create_check_constraint(
            op.f("ck_batch_rows_old_status_when_replaced_or_kept"),
            sqlalchemy.text(
                f"(old_status IS NULL AND NOT {with_old_status})"
                f" OR (old_status IS NOT NULL AND {may_have_old_status}"
                f" AND {_one_of('old_status', _NOT_COMPLETED)})"
            ),
        )
        rows.create_check_constraint(
            op.f("ck_batch_rows_kept_when_a_failure_is_kept"),
            sqlalchemy.text(
                "(kept IS NULL AND outcome <> 'FAILURE_KEPT')"
                " OR (kept IS NOT NULL AND outcome = 'FAILURE_KEPT'"
                f" AND {_one_of('kept', _KEPT)})"
            ),
        )


def _files() -> None:
    op.create_index("ix_files_listed", "files", ["created_at", "file_hash"])
    op.execute(
        "INSERT INTO files"  # noqa: S608 (own words)
        " (file_hash, size_bytes, filename, media_type, created_at, last_used_at)"
        " SELECT output_hash, max(output_size_bytes), '', '', min(ended_at), max(ended_at)"
        f" FROM attempts WHERE {_WITH_OUTPUT} AND output_is_inline = 0 GROUP BY output_hash"
        " ON CONFLICT DO NOTHING"
    )
