"""The rules that the database itself holds, tried by hand-written SQL; and the plans it makes."""

import re
import sqlite3
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import records, undecided
from dshpc_server.store.sql import tables
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support import store_waiting

LOST = v.sha("lost")
STOPPED = "status = 'CANCELLED' WHERE ended_at > 0"
PARTIAL = {
    "attempts.ended_at IS NULL": "uq_attempts_active",
    "ended_as IS NULL AND (outcome": "ix_batch_rows_waiting",
    "WHERE max_failures > 0": "ix_batches_limited",
}
"""What is asked with these conditions goes by these indexes."""
ORDERED = {
    "ORDER BY attempts.created_at DESC": "ix_attempts_listed",
    "ORDER BY batches.created_at DESC": "ix_batches_listed",
    "ORDER BY files.last_used_at": "ix_files_used",
}
NOT_ENDED = "ended_at = NULL, result = NULL, status = 'RUNNING'"


@pytest.fixture
def filled(sql_store: SqlStore) -> SqlStore:
    """One batch: row 0 is completed, row 1 is lost and waits again as attempt 2, row 2 rejected.

    Row 3 waits for row 1.
    """
    v.accept(sql_store, v.batch("before", "lost"))
    v.end(sql_store, "lost", Event.LOST)
    waiting = store_waiting.waiting(3, store_waiting.on_row(1))
    rows = [v.row(0, "done"), v.row(1, "lost"), v.rejected(2), waiting]
    v.accept(sql_store, v.batch("b", rows=rows))
    sql_store.write([lambda writer: writer.claim(v.take, 1)])
    v.record(sql_store, v.report("done", Event.SUCCEEDED, ending=v.an_ending(output="some output")))
    return sql_store


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("ended_when_terminal", "UPDATE attempts SET status = 'FINISHED' WHERE number = 2"),
        ("ended_when_terminal", "UPDATE attempts SET status = 'FAILED' WHERE number = 2"),
        ("ended_when_terminal", "UPDATE attempts SET status = 'RUNNING' WHERE ended_at > 0"),
        ("result_when_ended", "UPDATE attempts SET result = NULL WHERE ended_at > 0"),
        ("result_when_ended", "UPDATE attempts SET result = x'00' WHERE number = 2"),
        # Which of several rules it tells is the database's choice.
        ("number_from_1|replaced|chain", "UPDATE attempts SET number = 0 WHERE number = 2"),
        ("revision_rises", "UPDATE attempts SET revision = 1 WHERE number = 2"),
        ("cpus_from_1", "UPDATE attempts SET cpus = 0"),
        (
            "attempts.job_id",  # one active attempt
            f"UPDATE attempts SET {NOT_ENDED} WHERE number = 1 AND job_id = '{LOST}'",
        ),
        ("attempts.job_id, attempts.number", "UPDATE attempts SET number = 2, revision = 9"),
        ("FOREIGN KEY", "UPDATE attempts SET job_id = 'unknown' WHERE number = 2"),
        ("FOREIGN KEY", "DELETE FROM jobs"),
        ("FOREIGN KEY", "DELETE FROM attempts"),
        ("FOREIGN KEY", "DELETE FROM batches"),
        ("job_id_is_a_hash", "UPDATE jobs SET job_id = 'x'"),
        ("newest_attempt_from_1", "UPDATE jobs SET newest_attempt = 0"),
        ("answering_attempt_is_one", "UPDATE jobs SET answering_attempt = 0"),
        ("answering_attempt_is_one", "UPDATE jobs SET answering_attempt = 3"),
        ("counted_from_is_an_attempt", "UPDATE jobs SET counted_from = 3"),
        ("replaced_what_failed", "UPDATE attempts SET replaced = 'COMPLETED' WHERE number = 2"),
        ("replaced_what_failed", "UPDATE attempts SET replaced = 'FAILED' WHERE number = 1"),
        ("chain_began_before", "UPDATE attempts SET chain = 0 WHERE number = 2"),
        ("chain_began_before", "UPDATE attempts SET chain = 3 WHERE number = 2"),
        ("is_retried_when_failed", "UPDATE attempts SET is_retried = 2 WHERE ended_at > 0"),
        ("is_retried_when_failed", "UPDATE attempts SET is_retried = 1 WHERE number = 2"),
        ("is_retried_when_failed", "UPDATE attempts SET is_retried = 1 WHERE output_hash <> ''"),
        ("is_retried_when_failed", f"UPDATE attempts SET is_retried = 1, {STOPPED} AND number = 1"),
        ("owner_when_claimed", "UPDATE attempts SET owner = 'x' WHERE number = 2"),
        ("owner_when_claimed", "UPDATE attempts SET status = 'CONFIGURING' WHERE number = 2"),
        ("server_id_is_one", "INSERT INTO servers VALUES ('', 'here', 0, NULL)"),
        ("is_deleting_or_not", f"INSERT INTO files VALUES ('{LOST}', 1, '', '', 0, 0, 2)"),
        ("is_bypass_or_not", "UPDATE attempts SET is_bypass = 2"),
        ("output_is_inline_or_not", "UPDATE attempts SET output_is_inline = 2"),
        ("output_is_inline_or_not", "UPDATE attempts SET output_is_inline = 1 WHERE number = 2"),
        ("usage_from_0", "UPDATE attempts SET cpu_milliseconds = -1"),
        ("usage_from_0", "UPDATE attempts SET peak_memory_bytes = -1, cpu_milliseconds = 1"),
        ("usage_from_0", "UPDATE attempts SET queue_milliseconds = -1"),
        ("packed_with_others_or_not", "UPDATE attempts SET packed_jobs = 2"),
        ("packed_with_others_or_not", "UPDATE attempts SET packed_by = 'DECLARED'"),
        (
            "packed_with_others_or_not",
            "UPDATE attempts SET packed_jobs = 1, packed_by = 'DECLARED'",
        ),
        ("packed_with_others_or_not", "UPDATE attempts SET packed_jobs = 2, packed_by = 'HOPED'"),
        ("attempt_or_none", "UPDATE batch_rows SET outcome = 'FOUND'"),
        ("attempt_or_none", "UPDATE batch_rows SET outcome = 'NOT_FOUND' WHERE row_index = 0"),
        ("attempt_or_none", "UPDATE batch_rows SET outcome = 'NOT_FOUND' WHERE row_index = 2"),
        ("attempt_or_none", "UPDATE batch_rows SET rejection = NULL WHERE row_index = 2"),
        ("attempt_or_none", "UPDATE batch_rows SET rejection = x'00' WHERE row_index = 0"),
        ("attempt_or_none", "UPDATE batch_rows SET attempt = NULL WHERE row_index = 0"),
        ("old_status_when", "UPDATE batch_rows SET old_status = 'FAILED' WHERE row_index = 0"),
        ("old_status_when", "UPDATE batch_rows SET old_status = NULL WHERE row_index = 1"),
        ("old_status_when", "UPDATE batch_rows SET old_status = 'RUNNING' WHERE row_index = 1"),
        ("old_status_when", "UPDATE batch_rows SET old_status = 'COMPLETED' WHERE row_index = 1"),
        ("kept_when", "UPDATE batch_rows SET outcome = 'FAILURE_KEPT' WHERE row_index = 1"),
        ("kept_when", "UPDATE batch_rows SET kept = 'ONLY' WHERE row_index = 1"),
        ("batch_rows.batch_id, batch_rows.row_index", "UPDATE batch_rows SET row_index = 0"),
        ("waits_for_from_0", "UPDATE undecided_rows SET waits_for = -1"),
        ("cache_policy_is_one", "UPDATE undecided_rows SET cache_policy = 'x'"),
        ("resubmit_policy_is_one", "UPDATE undecided_rows SET resubmit_policy = 'x'"),
        ("upstream_is_a_row_or_a_job", "UPDATE dependencies SET upstream_index = NULL"),
        ("upstream_is_a_row_or_a_job", f"UPDATE dependencies SET upstream_job_id = '{LOST}'"),
        ("condition_is_one", "UPDATE dependencies SET condition = 'x'"),
        (
            "input_comes_from_success",
            "UPDATE dependencies SET condition = 'FAILED', input_name = 'input'",
        ),
        ("is_met_or_not", "UPDATE dependencies SET is_met = 2"),
        ("FOREIGN KEY", "DELETE FROM undecided_rows"),
        ("FOREIGN KEY", "UPDATE dependencies SET row_index = 0"),
        ("file_hash_is_a_hash", "INSERT INTO files VALUES ('../../x', 1, '', '', 0, 0, 0)"),
    ],
)
def test_the_database_refuses_a_state_that_cannot_be(
    filled: SqlStore, rule: str, statement: str
) -> None:
    with (
        pytest.raises(sqlalchemy.exc.IntegrityError) as refused,
        filled._writers.begin() as connection,
    ):
        connection.exec_driver_sql(statement)
    assert re.search(rule, str(refused.value.orig))


def test_everything_asked_often_goes_by_an_index(filled: SqlStore) -> None:
    plans: list[tuple[str, list[str]]] = []

    @sqlalchemy.event.listens_for(filled._engine, "before_cursor_execute")
    def explain(_: object, cursor: sqlite3.Cursor, *arguments: Any) -> None:  # noqa: ANN401 (SQLAlchemy's)
        statement, parameters, _, many = arguments
        if statement.strip().startswith(("SELECT", "UPDATE")) and not many:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append((statement, [step[3] for step in cursor.fetchall()]))

    _ask_everything(filled)
    assert len(plans) > 12
    assert any("(attempts.created_at, attempts.job_id" in statement for statement, _ in plans)
    for statement, steps in plans:
        scans = [step for step in steps if step.startswith("SCAN") and not _is_short(step)]
        assert not scans, f"{statement}: {steps}"
        if "min(attempts.due_at)" in statement:
            assert any("ix_attempts_due" in step for step in steps), steps
        elif "PENDING" in statement:
            assert any("ix_attempts_queue" in step for step in steps), steps
            assert not any("ORDER BY" in step for step in steps), steps
        for order, index in ORDERED.items():
            if order in statement:
                assert any(index in step for step in steps), steps
                assert not any("ORDER BY" in step for step in steps), steps
        for condition, index in PARTIAL.items():
            assert condition not in statement or any(index in step for step in steps), steps
        if "output_hash <>" in statement:
            index = "ix_attempts_kept_output" if "job_id IN" in statement else "ix_attempts_output"
            assert any(index in step for step in steps), f"{statement}: {steps}"


def _is_short(scan: str) -> bool:
    """Whether what is scanned is part of an index, or as long as there are priorities in use.

    Or rows that wait for others: who deletes a file goes through them. Or those that are skipped.
    """
    return "INDEX" in scan or scan in {
        "SCAN below",
        "SCAN classes",
        "SCAN dependencies",
        "SCAN undecided_rows",
    }


def _ask_everything(filled: SqlStore) -> None:
    jobs = [v.sha("done"), LOST]
    filled.find_attempts(jobs)
    filled.find_job(LOST)
    filled.preview(v.batch("preview", "done", lost_outputs=jobs))
    filled.find_kept_outputs(jobs)
    position = records.ListPosition(at=v.NOON, name=LOST)
    filled.find_jobs(after=position, limit=10, statuses=[JobStatus.COMPLETED], method_name="count")
    filled.find_jobs(after=None, limit=10, method_name="count")
    filled.find_jobs(after=None, limit=10, statuses=[JobStatus.FAILED])
    filled.find_files(after=position, limit=10)
    _ask_about_batches(filled)
    filled.find_active()
    filled.find_all_attempts(jobs)
    filled.find_unused_files(before=v.NOON, limit=10)
    filled.find_deleting()
    filled.find_output(v.sha("some output"))
    filled.find_outputs({v.sha("some output")})
    filled.find_file(v.sha("file"))
    rows = [v.row(n, n) for n in range(250)] + [v.row(250, "done", policy=v.REFRESH)]
    v.accept(filled, v.batch("again", rows=rows, file_hashes=jobs))
    v.write(filled, lambda writer: writer.set_priority("again", 5))
    v.accept(filled, v.batch("higher", 1, 2, 3, priority=9))
    v.claim_all(filled)
    v.fail(filled, "lost", number=2)
    v.fail(filled, "lost", number=3, retry=None)
    v.take_over(filled, "somebody")
    v.accept(filled, v.batch("anew", "done", "lost"))
    v.withdraw(filled, "anew", 0)
    v.withdraw(filled, "again")
    filled.find_failure_limits(None)
    filled.find_failure_limits(jobs, batch_ids=["b"])
    filled.find_request(v.request_name().request_id)
    v.cancel(filled, "lost", "done")
    filled.has_undecided()
    filled.find_retriable_rows("b")
    filled.find_completed([AttemptKey(job_id=each, number=1) for each in jobs])
    upstreams = undecided.Upstreams(job_ids=jobs, rows={"b": [1]}, batch_ids=["b"])
    store_waiting.settle(filled, upstreams)
    store_waiting.settle(filled, None)
    store_waiting.release(filled, "b", v.row(3, "of others"))
    v.accept(filled, v.batch("skipped", rows=store_waiting.after((0, 1), (1, 2))))
    v.cancel(filled, "first")
    assert store_waiting.settle_jobs(filled, "first").skipped
    v.delete_file(filled, v.sha("some output"))


def _ask_about_batches(filled: SqlStore) -> None:
    filled.has_batch("b")
    filled.find_batch("b")
    filled.find_rows("b", first_index=0, limit=10)
    filled.find_rows_by_index("b", [0, 2])
    filled.find_row_states("b", first_index=1, limit=10)
    filled.find_row_states_by_index("b", [0, 2])
    filled.find_batches(after=records.ListPosition(at=v.NOON, name="b"), limit=10)
    filled.find_tallies(["b", "before"])
    v.write(filled, lambda writer: writer.keep_tally("before", v.tally(filled, "before")))
    filled.find_retriable_rows("before")
    filled.find_next_piece("b")
    filled.find_stranded_batches()


def test_the_tables_can_be_made_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it bare
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert (" WHERE " in str(CreateIndex(index).compile(dialect=dialect))) == (
                index.name
                not in (
                    "ix_attempts_listed",
                    "ix_batches_listed",
                    "ix_files_listed",
                    "ix_files_used",
                )
            )
