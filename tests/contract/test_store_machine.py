"""The store driven at random; and proof that the machine sees mistakes, by making some."""

import dataclasses
from collections.abc import Callable, Sequence

import hypothesis
import pytest
import sqlalchemy
from hypothesis import stateful

from dshpc_server.domain import lifecycle, lookup
from dshpc_server.domain.job import JobStatus, Outcome, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Attempt, Claim, Report, Writer
from dshpc_server.store.sql import claiming, columns, reader, recording, store, tables, writer
from support.store_machine import StoreMachine

SETTINGS = hypothesis.settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# A mistake is to be seen, not made small.
SEEING = hypothesis.settings(
    SETTINGS, phases=[hypothesis.Phase.generate], max_examples=200, stateful_step_count=40
)


def test_the_store_keeps_its_promises() -> None:
    stateful.run_state_machine_as_test(StoreMachine, settings=SETTINGS)


def run_a_completed_job_again(patched: pytest.MonkeyPatch) -> None:
    again = lookup.Decision(outcome=Outcome.RESUBMITTED, old_status=JobStatus.COMPLETED)
    patched.setitem(lookup._DECISIONS, JobStatus.COMPLETED, again)


def run_a_running_job_twice(patched: pytest.MonkeyPatch) -> None:
    again = lookup.Decision(outcome=Outcome.RESUBMITTED, old_status=JobStatus.FAILED)
    patched.setitem(lookup._DECISIONS, JobStatus.RUNNING, again)


def take_reports_for_another_attempt(patched: pytest.MonkeyPatch) -> None:
    def record(connection: sqlalchemy.Connection, reports: Sequence[Report]) -> Sequence[Attempt]:
        runs = recording._active_runs(connection, {report.key.job_id for report in reports})
        return real(
            connection,
            [
                dataclasses.replace(report, key=runs[report.key.job_id].attempt.key)
                if report.key.job_id in runs
                else report
                for report in reports
            ],
        )

    real = recording.record
    patched.setattr(recording, "record", record)


def let_an_end_be_changed(patched: pytest.MonkeyPatch) -> None:
    attempts = tables.attempts.c
    newest_last = (
        sqlalchemy.select(*columns.ATTEMPT, attempts.engine_job_id, attempts.node)
        .select_from(reader.ATTEMPT_OF_JOB)
        .where(attempts.job_id.in_(reader.KEYS))
        .order_by(attempts.number)
    )
    patched.setattr(recording, "_ACTIVE", newest_last)
    late = (JobStatus.COMPLETED, Event.EXITED_NONZERO)
    patched.setitem(lifecycle._TARGETS, late, JobStatus.FAILED)


def claim_without_moving(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(claiming, "_TO_CLAIMED", claiming._TO_CLAIMED.values(status="PENDING"))


def claim_the_last_first(patched: pytest.MonkeyPatch) -> None:
    backwards = sqlalchemy.text("created_at DESC, queue_index DESC")
    patched.setattr(claiming, "_QUEUE", claiming._QUEUE.order_by(None).order_by(backwards))


def tell_nobody_of_claims(patched: pytest.MonkeyPatch) -> None:
    def claim(
        self: writer.SqlWriter, fits: Callable[[Resources], bool], limit: int
    ) -> Sequence[Claim]:
        return claiming.claim(self._connection, fits, limit)

    patched.setattr(writer.SqlWriter, "claim", claim)


def keep_the_work_of_one_that_raised(patched: pytest.MonkeyPatch) -> None:
    def run(
        connection: sqlalchemy.Connection, work: Callable[[Writer], object]
    ) -> tuple[object, Sequence[Attempt]]:
        writing = writer.SqlWriter(connection)
        try:
            return work(writing), writing.changes
        except LookupError as error:
            return error, ()

    patched.setattr(store, "_attempt", run)


@pytest.mark.parametrize(
    "mistake",
    [
        run_a_completed_job_again,
        run_a_running_job_twice,
        take_reports_for_another_attempt,
        let_an_end_be_changed,
        claim_without_moving,
        claim_the_last_first,
        tell_nobody_of_claims,
        keep_the_work_of_one_that_raised,
    ],
)
def test_the_machine_sees_a_mistake(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        stateful.run_state_machine_as_test(StoreMachine, settings=SEEING)
