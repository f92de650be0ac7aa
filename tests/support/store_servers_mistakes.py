"""Mistakes in the store that only several servers, crashes and retries bring to light, to be made.

Each is a way in which such stores have been wrong. Whoever checks the store is to see every one.
"""

import dataclasses
import types
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
import sqlalchemy

from dshpc_server.domain import retry
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.records import ActiveAttempt, Attempt, Report
from dshpc_server.store.sql import (
    bulk,
    claiming,
    columns,
    files,
    joins,
    outputs,
    reader,
    recording,
    rows,
    servers,
    stamps,
    standings,
    tables,
    writer,
)
from support import store_values as v
from support.store_servers_process import name_of


def replace_what_is_there(patched: pytest.MonkeyPatch) -> None:
    """INSERT OR REPLACE, as who has never heard of the job would."""

    def insert(table: sqlalchemy.Table, columns: tuple[str, ...], *, is_array: bool) -> str:
        statement = real(table, columns, is_array=is_array)
        is_attempt = table is tables.attempts
        return statement.replace("INSERT", "INSERT OR REPLACE", 1) if is_attempt else statement

    real = bulk._insert
    patched.setattr(bulk, "_insert", insert)
    patched.setattr(standings, "_find_newest", lambda *_, **__: None)


def begin_again_without_stopping(patched: pytest.MonkeyPatch) -> None:
    """Whoever takes over takes what ran for lost, and has it retried."""

    def take_over(
        self: writer.SqlWriter, dead: Collection[str], *, also_expired: bool = True
    ) -> Sequence[ActiveAttempt]:
        lost = [
            dataclasses.replace(
                v.report("", Event.LOST, ending=v.an_ending(name_of(each.claim.key))),
                key=each.claim.key,
                retry_after_seconds=0.0,
            )
            for each in real(self, dead, also_expired=also_expired)
        ]
        self.record(lost)
        return []

    real = writer.SqlWriter.take_over
    patched.setattr(writer.SqlWriter, "take_over", take_over)


def record_for_anybody(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(recording._Run, "is_of", lambda *_: True)


def record_for_another_attempt(patched: pytest.MonkeyPatch) -> None:
    def record(
        connection: sqlalchemy.Connection,
        reports: Sequence[Report],
        server_id: str,
        now: Callable[[], int],
        stamp: stamps.Stamp,
    ) -> Sequence[Attempt]:
        newest = reader.newest_attempts(connection, {report.key.job_id for report in reports})
        moved = [
            dataclasses.replace(report, key=newest[report.key.job_id].key) for report in reports
        ]
        return real(connection, moved, server_id, now, stamp)

    real = recording.record
    patched.setattr(recording, "record", record)


def show_a_retry_beside_what_it_retries(patched: pytest.MonkeyPatch) -> None:
    every = tables.batch_rows.outerjoin(
        tables.attempts,
        (tables.attempts.c.job_id == tables.batch_rows.c.job_id)
        & (tables.attempts.c.chain == tables.batch_rows.c.attempt),
    ).outerjoin(tables.jobs, tables.jobs.c.job_id == tables.attempts.c.job_id)
    patched.setattr(rows, "_WHOLE", sqlalchemy.select(*columns.ROW).select_from(every))


def tie_rows_to_what_was_retried(patched: pytest.MonkeyPatch) -> None:
    first = tables.batch_rows.outerjoin(
        tables.attempts,
        (tables.attempts.c.job_id == tables.batch_rows.c.job_id)
        & (tables.attempts.c.number == tables.batch_rows.c.attempt),
    ).outerjoin(tables.jobs, tables.jobs.c.job_id == tables.attempts.c.job_id)
    patched.setattr(rows, "_WHOLE", sqlalchemy.select(*columns.ROW).select_from(first))


def retry_for_ever(patched: pytest.MonkeyPatch) -> None:
    def delay_seconds(self: retry.Retries, *, retries: int, **others: Any) -> float | None:  # noqa: ANN401 (as they come)
        del retries
        return real(self, retries=0, **others)

    real = retry.Retries.delay_seconds
    patched.setattr(retry.Retries, "delay_seconds", delay_seconds)


def retry_what_is_to_be_stopped(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(recording._Run, "is_to_be_stopped", False)


def claim_without_a_record(patched: pytest.MonkeyPatch) -> None:
    # In claims alone.
    without_hold = types.SimpleNamespace(hold=lambda *_, **__: (None,))
    patched.setattr(claiming, "servers", without_hold)


def claim_for_nobody(patched: pytest.MonkeyPatch) -> None:
    def values(attempt: Attempt, _: str) -> tuple[object, ...]:
        return real(attempt, "nobody")

    real = claiming._values
    patched.setattr(claiming, "_values", values)


def take_over_from_the_living(patched: pytest.MonkeyPatch) -> None:
    def take_over(connection: sqlalchemy.Connection, server_id: str, *_: object) -> None:
        connection.execute(
            sqlalchemy.update(tables.attempts)
            .where(joins.NOT_ENDED, tables.attempts.c.owner.is_not(None))
            .values(owner=server_id)
        )

    patched.setattr(servers, "take_over", take_over)


def take_over_what_runs_elsewhere(patched: pytest.MonkeyPatch) -> None:
    def take_over(
        connection: sqlalchemy.Connection,
        server_id: str,
        dead: Collection[str],
        expired_at: int | None,
    ) -> None:
        others = tables.servers.c.server_id != server_id
        everywhere = sqlalchemy.update(tables.servers).where(others).values(scope="here")
        connection.execute(everywhere)
        real(connection, server_id, dead, expired_at)

    real = servers.take_over
    patched.setattr(servers, "take_over", take_over)


def forget_the_cancel_at_the_take_over(patched: pytest.MonkeyPatch) -> None:
    def take_over(connection: sqlalchemy.Connection, server_id: str, *others: object) -> None:
        real(connection, server_id, *others)
        mine = tables.attempts.c.owner == server_id
        connection.execute(
            sqlalchemy.update(tables.attempts).where(mine).values(cancel_reason=None)
        )

    real: Any = servers.take_over
    patched.setattr(servers, "take_over", take_over)


def leave_the_dead_what_they_have(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(servers, "take_over", lambda *_: None)


def accept_what_needs_content_that_goes(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(files, "_check_staying", lambda *_: None)


def answer_with_content_that_went(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(outputs, "answer_no_more", lambda *_: False)


def hold_retries_when_the_clock_goes_back(patched: pytest.MonkeyPatch) -> None:
    is_due = tables.attempts.c.due_at <= sqlalchemy.bindparam("now")
    waiting = (sqlalchemy.text("attempts.status = 'PENDING'"), is_due)
    queue = sqlalchemy.select(*claiming._COLUMNS).select_from(joins.ATTEMPT_OF_JOB).where(*waiting)
    patched.setattr(claiming, "_QUEUE", queue.order_by(*claiming._ORDER))
