"""Which servers there are, who owns an attempt, which attempts retry others, what is being deleted.

In a store of 0002 nothing was retried by itself, so every attempt is a chain of its own, and what
was claimed belongs to a server of which there is no record: the first one that opens it takes over.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy
from alembic import op
from alembic.operations.base import BatchOperations
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_CLAIMED = ("CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING")
_UNCLAIMED = ("PENDING", "BLOCKED")
_FAILED = (
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "PREEMPTED",
)
_FORGOTTEN = "forgotten"


def upgrade() -> None:
    """Make what is new, and fill it in."""
    _servers()
    _attempts()
    _attempt_indexes()
    _files()


def _one_of(column: str, words: Iterable[str]) -> str:
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


def _changing(table: str) -> AbstractContextManager[BatchOperations]:
    """Change a table; in SQLite, which knows no other way, it is copied, once for all changes."""
    return op.batch_alter_table(table, recreate="always" if _is_sqlite() else "never")


def _after(column: str) -> dict[str, Any]:
    """Say where a new column lies, where that can be said: long ones stay last."""
    return {"insert_after": column} if _is_sqlite() else {}


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _servers() -> None:
    op.create_table(
        "servers",
        Column("server_id", Text, nullable=False),
        Column("scope", Text, nullable=False),
        Column("joined_at", BigInteger, nullable=False),
        Column("lease_expires_at", BigInteger),
        sqlalchemy.PrimaryKeyConstraint("server_id", name=op.f("pk_servers")),
        sqlalchemy.CheckConstraint("server_id <> ''", name=op.f("ck_servers_server_id_is_one")),
    )


def _attempts() -> None:
    op.drop_index("ix_attempts_queue", "attempts")
    with _changing("attempts") as attempts:
        attempts.add_column(Column("chain", Integer), **_after("is_bypass"))
        attempts.add_column(
            Column("is_retried", Integer, nullable=False, server_default="0"), **_after("chain")
        )
        attempts.add_column(Column("owner", Text), **_after("is_retried"))
        attempts.add_column(Column("queued_at", BigInteger), **_after("created_at"))
        attempts.add_column(
            Column("due_at", BigInteger, nullable=False, server_default="0"),
            **_after("queue_index"),
        )
    op.execute("UPDATE attempts SET chain = number, queued_at = created_at")
    op.execute(f"UPDATE attempts SET owner = '{_FORGOTTEN}' WHERE {_one_of('status', _CLAIMED)}")  # noqa: S608 (own words)
    with _changing("attempts") as attempts:
        attempts.alter_column("chain", existing_type=Integer(), nullable=False)
        attempts.alter_column("queued_at", existing_type=BigInteger(), nullable=False)
        attempts.create_check_constraint(
            op.f("ck_attempts_chain_began_before"),
            sqlalchemy.text("chain BETWEEN 1 AND number"),
        )
        attempts.create_check_constraint(
            op.f("ck_attempts_is_retried_when_failed"),
            sqlalchemy.text(f"is_retried = 0 OR (is_retried = 1 AND {_one_of('status', _FAILED)})"),
        )
        attempts.create_check_constraint(
            op.f("ck_attempts_owner_when_claimed"),
            sqlalchemy.text(
                f"(owner IS NULL AND NOT {_one_of('status', _CLAIMED)})"
                f" OR (owner IS NOT NULL AND NOT {_one_of('status', _UNCLAIMED)})"
            ),
        )


def _attempt_indexes() -> None:
    partial = {
        "ix_attempts_queue": (["queued_at", "queue_index", "job_id"], "status = 'PENDING'"),
        "ix_attempts_due": (["due_at"], "status = 'PENDING' AND due_at > 0"),
        "uq_attempts_chain": (["job_id", "chain"], "is_retried = 0 AND chain < number"),
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


def _files() -> None:
    with _changing("files") as files:
        files.add_column(Column("is_deleting", Integer, nullable=False, server_default="0"))
        files.create_check_constraint(
            op.f("ck_files_is_deleting_or_not"),
            sqlalchemy.text("is_deleting = 0 OR is_deleting = 1"),
        )
    op.create_index("ix_files_used", "files", ["last_used_at", "file_hash"])
    condition = sqlalchemy.text("is_deleting = 1")
    op.create_index(
        "ix_files_deleting",
        "files",
        ["file_hash"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
