"""Rows that wait for others: what they are to run, and what each of them waits for.

What a row comes after is kept with it as long as it names no job. In a store of 0006 no row waits.
"""

import sqlalchemy
from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and room in the rows."""
    _undecided_rows()
    _dependencies()
    op.add_column("batch_rows", Column("comes_after", Text))


def _one_of(column: str, *words: str) -> str:
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


def _check(condition: str, name: str) -> sqlalchemy.CheckConstraint:
    return sqlalchemy.CheckConstraint(condition, name=op.f(name))


def _undecided_rows() -> None:
    op.create_table(
        "undecided_rows",
        Column("batch_id", Text, nullable=False),
        Column("row_index", Integer, nullable=False),
        Column("waits_for", Integer, nullable=False),
        Column("config_index", Integer, nullable=False),
        Column("method_name", Text, nullable=False),
        Column("function_hash", Text, nullable=False),
        Column("inputs", Text, nullable=False),
        Column("parameters_json", Text, nullable=False),
        Column("cpus", Integer, nullable=False),
        Column("memory_bytes", BigInteger, nullable=False),
        Column("gpus", Integer, nullable=False),
        Column("timeout_seconds", Double, nullable=False),
        Column("cache_policy", Text, nullable=False),
        Column("resubmit_policy", Text, nullable=False),
        Column("max_attempts", Integer, nullable=False),
        _check("waits_for >= 0", "ck_undecided_rows_waits_for_from_0"),
        _check("cpus >= 1", "ck_undecided_rows_cpus_from_1"),
        _check(
            _one_of("cache_policy", "USE", "REFRESH", "BYPASS", "ONLY"),
            "ck_undecided_rows_cache_policy_is_one",
        ),
        _check(
            _one_of("resubmit_policy", "ALWAYS", "RETRIABLE", "NEVER"),
            "ck_undecided_rows_resubmit_policy_is_one",
        ),
        sqlalchemy.ForeignKeyConstraint(
            ["batch_id", "row_index"],
            ["batch_rows.batch_id", "batch_rows.row_index"],
            name=op.f("fk_undecided_rows_batch_id_row_index_batch_rows"),
        ),
        sqlalchemy.PrimaryKeyConstraint("batch_id", "row_index", name=op.f("pk_undecided_rows")),
    )
    ready = sqlalchemy.text("waits_for = 0")
    op.create_index(
        "ix_undecided_rows_ready",
        "undecided_rows",
        ["batch_id", "row_index"],
        sqlite_where=ready,
        postgresql_where=ready,
    )


def _dependencies() -> None:
    op.create_table(
        "dependencies",
        Column("batch_id", Text, nullable=False),
        Column("row_index", Integer, nullable=False),
        Column("position", Integer, nullable=False),
        Column("upstream_index", Integer),
        Column("upstream_job_id", Text),
        Column("upstream_attempt", Integer),
        Column("condition", Text, nullable=False),
        Column("input_name", Text, nullable=False),
        Column("upstream_name", Text, nullable=False),
        Column("is_met", Integer, nullable=False, server_default="0"),
        _check(
            "(upstream_index IS NOT NULL AND upstream_job_id IS NULL"
            " AND upstream_attempt IS NULL)"
            " OR (upstream_index IS NULL AND upstream_job_id IS NOT NULL"
            " AND upstream_attempt IS NOT NULL)",
            "ck_dependencies_upstream_is_a_row_or_a_job",
        ),
        _check("position >= 0", "ck_dependencies_position_from_0"),
        _check(
            _one_of("condition", "SUCCEEDED", "FAILED", "FINISHED"),
            "ck_dependencies_condition_is_one",
        ),
        _check(
            "input_name = '' OR condition = 'SUCCEEDED'",
            "ck_dependencies_input_comes_from_success",
        ),
        _check("is_met = 0 OR is_met = 1", "ck_dependencies_is_met_or_not"),
        sqlalchemy.ForeignKeyConstraint(
            ["batch_id", "row_index"],
            ["undecided_rows.batch_id", "undecided_rows.row_index"],
            name=op.f("fk_dependencies_batch_id_row_index_undecided_rows"),
        ),
        sqlalchemy.ForeignKeyConstraint(
            ["upstream_job_id", "upstream_attempt"],
            ["attempts.job_id", "attempts.number"],
            name=op.f("fk_dependencies_upstream_job_id_upstream_attempt_attempts"),
        ),
        sqlalchemy.PrimaryKeyConstraint(
            "batch_id", "row_index", "position", name=op.f("pk_dependencies")
        ),
    )
    on_row = sqlalchemy.text("is_met = 0")
    op.create_index(
        "ix_dependencies_on_row",
        "dependencies",
        ["batch_id", "upstream_index"],
        sqlite_where=on_row,
        postgresql_where=on_row,
    )
    on_job = sqlalchemy.text("is_met = 0 AND upstream_job_id IS NOT NULL")
    op.create_index(
        "ix_dependencies_on_job",
        "dependencies",
        ["upstream_job_id"],
        sqlite_where=on_job,
        postgresql_where=on_job,
    )
