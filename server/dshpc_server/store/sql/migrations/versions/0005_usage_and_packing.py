"""What an attempt used, and how it shared a task of the engine's scheduler with others.

Of what ran before nobody looked at that: its columns stay empty.
"""

from typing import Any

import sqlalchemy
from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = {
    "cpu_milliseconds": BigInteger,
    "peak_memory_bytes": BigInteger,
    "queue_milliseconds": BigInteger,
    "packed_jobs": Integer,
    "packed_by": Text,
}


def upgrade() -> None:
    """Make the columns, empty; in SQLite, which knows no other way, the table is copied."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    after = "node"
    with op.batch_alter_table("attempts", recreate="always" if is_sqlite else "never") as attempts:
        for name, kind in _COLUMNS.items():
            # Long ones stay last, where that can be said.
            place: dict[str, Any] = {"insert_after": after} if is_sqlite else {}
            attempts.add_column(Column(name, kind), **place)
            after = name
        attempts.create_check_constraint(
            op.f("ck_attempts_usage_from_0"),
            sqlalchemy.text(
                "cpu_milliseconds >= 0 AND peak_memory_bytes >= 0 AND queue_milliseconds >= 0"
            ),
        )
        attempts.create_check_constraint(
            op.f("ck_attempts_packed_with_others_or_not"),
            sqlalchemy.text(
                "(packed_jobs IS NULL AND packed_by IS NULL) OR (packed_jobs IS NOT NULL"
                " AND packed_by IS NOT NULL AND packed_jobs >= 2"
                " AND (packed_by = 'DECLARED' OR packed_by = 'OBSERVED'))"
            ),
        )
