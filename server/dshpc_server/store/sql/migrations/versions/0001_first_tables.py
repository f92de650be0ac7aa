"""The first tables.

A script is never changed once released: it says what a database of its version looks like, so the
words stand here again.
"""

import sqlalchemy
from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, Text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_IN_PROGRESS = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "BLOCKED")
_TERMINAL = (
    "COMPLETED",
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
    "NOT_FOUND",
    "WITHHELD",
    "PENDING",
)


def upgrade() -> None:
    """Make them."""
    _jobs()
    _attempts()
    _attempt_indexes()
    _batches()
    _batch_rows()
    _files()


def _one_of(column: str, words: tuple[str, ...]) -> str:
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


def _check(name: str, condition: str) -> sqlalchemy.CheckConstraint:
    return sqlalchemy.CheckConstraint(condition, name=op.f(name))


def _jobs() -> None:
    op.create_table(
        "jobs",
        Column("job_id", Text, nullable=False),
        Column("method_name", Text, nullable=False),
        Column("function_hash", Text, nullable=False),
        Column("inputs", Text, nullable=False),
        Column("parameters_json", Text, nullable=False),
        Column("newest_attempt", Integer, nullable=False),
        sqlalchemy.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
        _check("ck_jobs_job_id_is_a_hash", "length(job_id) = 64"),
        _check("ck_jobs_newest_attempt_from_1", "newest_attempt >= 1"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        Column("job_id", Text, nullable=False),
        Column("number", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("cpus", Integer, nullable=False),
        Column("memory_bytes", BigInteger, nullable=False),
        Column("gpus", Integer, nullable=False),
        Column("timeout_seconds", Double, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("queue_index", Integer, nullable=False),
        Column("started_at", BigInteger),
        Column("ended_at", BigInteger),
        Column("exit_code", Integer),
        Column("signal", Integer),
        Column("reason", Text, nullable=False, server_default=""),
        Column("output_hash", Text, nullable=False, server_default=""),
        Column("output_size_bytes", BigInteger, nullable=False, server_default="0"),
        Column("engine_job_id", Text, nullable=False, server_default=""),
        Column("node", Text, nullable=False, server_default=""),
        Column("result", LargeBinary),
        Column("stderr_tail", Text, nullable=False, server_default=""),
        sqlalchemy.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
        _check(
            "ck_attempts_ended_when_terminal",
            f"(ended_at IS NULL AND {_one_of('status', _IN_PROGRESS)})"
            f" OR (ended_at IS NOT NULL AND {_one_of('status', _TERMINAL)})",
        ),
        _check("ck_attempts_result_when_ended", "(ended_at IS NULL) = (result IS NULL)"),
        _check("ck_attempts_number_from_1", "number >= 1"),
        _check("ck_attempts_revision_rises", "revision >= number"),
        _check("ck_attempts_cpus_from_1", "cpus >= 1"),
        sqlalchemy.ForeignKeyConstraint(
            ["job_id"], ["jobs.job_id"], name=op.f("fk_attempts_job_id_jobs")
        ),
    )


def _attempt_indexes() -> None:
    partial = {
        "uq_attempts_active": (["job_id"], "ended_at IS NULL"),
        "ix_attempts_queue": (["created_at", "queue_index", "job_id"], "status = 'PENDING'"),
        "ix_attempts_output": (["output_hash"], "status = 'COMPLETED' AND output_hash <> ''"),
    }
    for name, (columns, condition) in partial.items():
        op.create_index(
            name,
            "attempts",
            columns,
            unique=name.startswith("uq_"),
            sqlite_where=sqlalchemy.text(condition),
            postgresql_where=sqlalchemy.text(condition),
        )


def _batches() -> None:
    op.create_table(
        "batches",
        Column("batch_id", Text, nullable=False),
        Column("display_name", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("row_count", Integer, nullable=False),
        sqlalchemy.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
    )


def _batch_rows() -> None:
    replaced_or_kept = _one_of("outcome", _WITH_OLD_STATUS)
    op.create_table(
        "batch_rows",
        Column("batch_id", Text, nullable=False),
        Column("row_index", Integer, nullable=False),
        Column("outcome", Text, nullable=False),
        Column("old_status", Text),
        Column("job_id", Text),
        Column("attempt", Integer),
        Column("head", LargeBinary, nullable=False),
        Column("rejection", LargeBinary),
        sqlalchemy.PrimaryKeyConstraint("batch_id", "row_index", name=op.f("pk_batch_rows")),
        _check(
            "ck_batch_rows_attempt_or_rejection",
            "(rejection IS NOT NULL AND job_id IS NULL AND attempt IS NULL"
            " AND outcome = 'REJECTED')"
            " OR (rejection IS NULL AND job_id IS NOT NULL AND attempt IS NOT NULL"
            f" AND {_one_of('outcome', _WITH_ATTEMPT)})",
        ),
        _check(
            "ck_batch_rows_old_status_when_replaced_or_kept",
            f"(old_status IS NULL AND NOT {replaced_or_kept})"
            f" OR (old_status IS NOT NULL AND {replaced_or_kept}"
            f" AND {_one_of('old_status', _TERMINAL)})",
        ),
        sqlalchemy.ForeignKeyConstraint(
            ["job_id", "attempt"],
            ["attempts.job_id", "attempts.number"],
            name=op.f("fk_batch_rows_job_id_attempt_attempts"),
        ),
        sqlalchemy.ForeignKeyConstraint(
            ["batch_id"], ["batches.batch_id"], name=op.f("fk_batch_rows_batch_id_batches")
        ),
    )


def _files() -> None:
    op.create_table(
        "files",
        Column("file_hash", Text, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("filename", Text, nullable=False),
        Column("media_type", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("last_used_at", BigInteger, nullable=False),
        sqlalchemy.PrimaryKeyConstraint("file_hash", name=op.f("pk_files")),
        _check("ck_files_file_hash_is_a_hash", "length(file_hash) = 64"),
    )
