"""What batches live by: priorities and turns, named requests, pieces, rows that end by themselves.

In a store of 0005 nothing had a priority, and what waits keeps its place: all of it has the first
turn, of which the queue goes by the time of the batch. When something changed last is told by its
moments.
"""

from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy
from alembic import op
from alembic.operations.base import BatchOperations
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WITH_ATTEMPT = (
    "FOUND_COMPLETED",
    "FOUND_IN_PROGRESS",
    "SUBMITTED",
    "RESUBMITTED",
    "FAILURE_KEPT",
)
_WAITING = "(outcome = 'SUBMITTED' OR outcome = 'RESUBMITTED' OR outcome = 'FOUND_IN_PROGRESS')"
_PRIORITY = "priority BETWEEN -100 AND 100"


def upgrade() -> None:
    """Make what is new, and fill it in."""
    _attempts()
    _batches()
    _batch_rows()
    _staged_pieces()


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


def _attempts() -> None:
    op.drop_index("ix_attempts_queue", "attempts")
    with _changing("attempts") as attempts:
        attempts.add_column(
            Column("priority", Integer, nullable=False, server_default="0"), **_after("replaced")
        )
        attempts.add_column(
            Column("turn", BigInteger, nullable=False, server_default="0"), **_after("priority")
        )
        attempts.add_column(
            Column("changed_at", BigInteger, nullable=False, server_default="0"),
            **_after("ended_at"),
        )
    op.execute("UPDATE attempts SET changed_at = coalesce(ended_at, started_at, created_at)")
    op.create_index(
        "ix_attempts_queue",
        "attempts",
        ["priority", "turn", "queued_at", "queue_index", "job_id"],
        sqlite_where=sqlalchemy.text("status = 'PENDING'"),
        postgresql_where=sqlalchemy.text("status = 'PENDING'"),
    )
    op.drop_index("ix_attempts_listed", "attempts")
    op.create_index("ix_attempts_listed", "attempts", ["created_at", "job_id"])


def _batches() -> None:
    with _changing("batches") as batches:
        batches.add_column(Column("staged_rows", Integer, nullable=False, server_default="0"))
        batches.add_column(Column("first_turns", Text))
        batches.add_column(Column("priority", Integer, nullable=False, server_default="0"))
        batches.add_column(Column("max_failures", Integer, nullable=False, server_default="0"))
        batches.add_column(Column("cancel_reason", Text))
        batches.add_column(Column("request_id", Text))
        batches.add_column(Column("request_hash", Text))
        batches.add_column(Column("ended_at", BigInteger))
        batches.add_column(Column("tally", Text))
        batches.create_check_constraint(
            op.f("ck_batches_priority_within_bounds"), sqlalchemy.text(_PRIORITY)
        )
        batches.create_check_constraint(
            op.f("ck_batches_staged_rows_are_of_the_batch"),
            sqlalchemy.text("staged_rows BETWEEN 0 AND row_count"),
        )
        batches.create_check_constraint(
            op.f("ck_batches_max_failures_from_0"), sqlalchemy.text("max_failures >= 0")
        )
        batches.create_check_constraint(
            op.f("ck_batches_request_hash_when_named"),
            sqlalchemy.text("(request_id IS NULL) = (request_hash IS NULL)"),
        )
        batches.create_check_constraint(
            op.f("ck_batches_tally_when_ended"),
            sqlalchemy.text("(ended_at IS NULL) = (tally IS NULL)"),
        )
    named = sqlalchemy.text("request_id IS NOT NULL")
    op.create_index(
        "uq_batches_request",
        "batches",
        ["request_id"],
        unique=True,
        sqlite_where=named,
        postgresql_where=named,
    )
    limited = sqlalchemy.text("max_failures > 0 AND cancel_reason IS NULL AND tally IS NULL")
    op.create_index(
        "ix_batches_limited",
        "batches",
        ["batch_id"],
        sqlite_where=limited,
        postgresql_where=limited,
    )
    op.create_index("ix_batches_listed", "batches", ["created_at", "batch_id"])


def _batch_rows() -> None:
    with _changing("batch_rows") as rows:
        rows.drop_constraint(op.f("ck_batch_rows_attempt_or_none"), type_="check")
        rows.add_column(Column("priority", Integer), **_after("kept"))
        rows.add_column(Column("ended_as", Text), **_after("priority"))
        rows.add_column(Column("ended_at", BigInteger), **_after("ended_as"))
        rows.add_column(
            Column("changed_at", BigInteger, nullable=False, server_default="0"),
            **_after("ended_at"),
        )
        rows.add_column(Column("ending", LargeBinary))
        rows.add_column(Column("config", LargeBinary))
        rows.create_check_constraint(
            op.f("ck_batch_rows_attempt_or_none"),
            sqlalchemy.text(
                "(job_id IS NOT NULL AND attempt IS NOT NULL AND rejection IS NULL"
                f" AND {_one_of('outcome', _WITH_ATTEMPT)})"
                " OR (job_id IS NULL AND attempt IS NULL AND ((rejection IS NULL AND"
                " (outcome = 'NOT_FOUND' OR outcome = 'PENDING' OR outcome = 'WITHHELD'))"
                " OR (rejection IS NOT NULL AND outcome = 'REJECTED')))"
            ),
        )
        rows.create_check_constraint(
            op.f("ck_batch_rows_ended_by_itself_or_not"),
            sqlalchemy.text(
                "(ended_as IS NULL AND ended_at IS NULL AND ending IS NULL"
                " AND outcome <> 'WITHHELD')"
                " OR (ended_as IS NOT NULL AND ended_at IS NOT NULL AND ending IS NOT NULL AND"
                " ((outcome = 'WITHHELD' AND (ended_as = 'CANCELLED' OR ended_as = 'SKIPPED'))"
                f" OR (ended_as = 'CANCELLED' AND {_WAITING})))"
            ),
        )
        rows.create_check_constraint(
            op.f("ck_batch_rows_priority_within_bounds"), sqlalchemy.text(_PRIORITY)
        )
    waits = sqlalchemy.text(f"ended_as IS NULL AND {_WAITING}")
    op.create_index(
        "ix_batch_rows_waiting",
        "batch_rows",
        ["job_id", "attempt"],
        sqlite_where=waits,
        postgresql_where=waits,
    )


def _staged_pieces() -> None:
    op.create_table(
        "staged_pieces",
        Column("batch_id", Text, nullable=False),
        Column("piece_number", Integer, nullable=False),
        Column("row_count", Integer, nullable=False),
        Column("owner", Text, nullable=False),
        Column("rows", LargeBinary, nullable=False),
        sqlalchemy.PrimaryKeyConstraint("batch_id", "piece_number", name="pk_staged_pieces"),
        sqlalchemy.CheckConstraint(
            "piece_number >= 0", name=op.f("ck_staged_pieces_piece_number_from_0")
        ),
        sqlalchemy.CheckConstraint(
            "row_count >= 1", name=op.f("ck_staged_pieces_row_count_from_1")
        ),
    )
