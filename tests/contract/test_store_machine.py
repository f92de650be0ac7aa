"""The store driven at random; and proof that the machine sees mistakes, by making some.

`make properties` drives it a thousand times, in another way each time.
"""

import dataclasses
import os
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeAlias

import hypothesis
import pytest
import sqlalchemy
from hypothesis import stateful

from dshpc_server.domain import lifecycle, lookup, queue
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Attempt, Claim, Claims, Report
from dshpc_server.store.sql import (
    cancelling,
    claiming,
    columns,
    deciding,
    deleting,
    joins,
    outputs,
    recording,
    stamps,
    standings,
    tables,
    transactions,
    usage,
    writer,
)
from dshpc_server.store.sql.store import SqlStore
from support import store_look
from support.store_machine import StoreMachine

_EXAMPLES = int(os.environ.get("DSHPC_TEST_EXAMPLES", "0"))
SETTINGS = hypothesis.settings(
    max_examples=_EXAMPLES or 40,
    stateful_step_count=25,
    database=None,
    derandomize=not _EXAMPLES,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# A mistake is to be seen, not made small.
SEEING = hypothesis.settings(
    SETTINGS,
    phases=[hypothesis.Phase.generate],
    max_examples=200,
    stateful_step_count=40,
    derandomize=True,
)

Machine: TypeAlias = type[StoreMachine]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """On one store for all examples, whose statements are put together once."""
    path = tmp_path_factory.mktemp("machine") / "store.db"
    path.write_bytes(store_look.empty_store())
    with closing(SqlStore.open(path)) as store:
        store_look.be_careless(store)

        class Machine(StoreMachine):
            def __init__(self) -> None:
                super().__init__(store)

        yield Machine


@pytest.mark.timeout(120 + _EXAMPLES)
def test_the_store_keeps_its_promises(machine: Machine) -> None:
    stateful.run_state_machine_as_test(machine, settings=SETTINGS)


def run_a_completed_job_again(patched: pytest.MonkeyPatch) -> None:
    def decide(standing: lookup.Standing | None, policy: lookup.Policy) -> lookup.Decision:
        return real(None if standing and standing.status == "COMPLETED" else standing, policy)

    real = lookup.decide
    patched.setattr(lookup, "decide", decide)


def run_a_job_beside_itself(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(deciding, "job", types.SimpleNamespace(IN_PROGRESS=frozenset()))


def answer_before_the_new_result_is_there(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(deciding, "_has_answer", lambda _: False)


def answer_with_what_was_for_one_alone(patched: pytest.MonkeyPatch) -> None:
    def begins(run: recording._Run) -> bool:
        is_done = run.attempt.status is JobStatus.COMPLETED
        return is_done and run.answering != run.attempt.key.number

    patched.setattr(recording._Run, "begins_to_answer", property(begins))


def count_no_failures(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(standings, "_count_failures", lambda *_: None)


def heed_no_loss(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(standings, "_strike_lost_outputs", lambda *_: None)


def forget_the_first_reason(patched: pytest.MonkeyPatch) -> None:
    attempts = tables.attempts.c
    always = sqlalchemy.update(tables.attempts).where(
        attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED
    )
    patched.setattr(cancelling, "_MARK", always.values(cancel_reason=sqlalchemy.bindparam("why")))


def leave_a_deleted_output_in_results(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(outputs, "take_out", lambda *_: False)


def delete_what_is_needed(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(deleting, "_find_user", lambda *_: None)


def take_reports_for_another_attempt(patched: pytest.MonkeyPatch) -> None:
    def record(
        connection: sqlalchemy.Connection,
        reports: Sequence[Report],
        server_id: str,
        now: Callable[[], int],
        stamp: stamps.Stamp,
    ) -> Sequence[Attempt]:
        runs = recording._active_runs(connection, {report.key.job_id for report in reports})
        return real(
            connection,
            [
                dataclasses.replace(report, key=runs[report.key.job_id].attempt.key)
                if report.key.job_id in runs
                else report
                for report in reports
            ],
            server_id,
            now,
            stamp,
        )

    real = recording.record
    patched.setattr(recording, "record", record)


def let_an_end_be_changed(patched: pytest.MonkeyPatch) -> None:
    attempts = tables.attempts.c
    newest_last = (
        sqlalchemy.select(
            *columns.ATTEMPT,
            *usage.COLUMNS,
            attempts.engine_job_id,
            attempts.node,
            attempts.is_bypass,
            attempts.owner,
            attempts.cancel_reason,
            tables.jobs.c.answering_attempt,
        )
        .select_from(joins.ATTEMPT_OF_JOB)
        .where(attempts.job_id.in_(joins.KEYS))
        .order_by(attempts.number)
    )
    patched.setattr(recording, "_ACTIVE", newest_last)
    late = (JobStatus.COMPLETED, Event.EXITED_NONZERO)
    patched.setitem(lifecycle._TARGETS, late, JobStatus.FAILED)


def claim_without_moving(patched: pytest.MonkeyPatch) -> None:
    def values(attempt: Attempt, _: str) -> tuple[object, ...]:
        key, changed_at = attempt.key, attempt.changed_at
        return "PENDING", attempt.revision - 1, None, changed_at, key.job_id, key.number

    patched.setattr(claiming, "_values", values)


def claim_the_last_first(patched: pytest.MonkeyPatch) -> None:
    backwards = sqlalchemy.text("created_at DESC, queue_index DESC")
    patched.setattr(claiming, "_QUEUE", claiming._QUEUE.order_by(None).order_by(backwards))


def tell_nobody_of_claims(patched: pytest.MonkeyPatch) -> None:
    def claim(
        self: writer.SqlWriter,
        judge: Callable[[Claim], queue.Verdict],
        limit: int,
        ageing: queue.Ageing,
    ) -> Claims:
        now, server_id = self._now(), self._server_id
        return claiming.claim(self._connection, judge, limit, ageing, server_id, now, self._stamp)[
            0
        ]

    patched.setattr(writer.SqlWriter, "claim", claim)


def keep_the_work_of_one_that_raised(patched: pytest.MonkeyPatch) -> None:
    def run(
        _: sqlalchemy.Connection, writing: writer.SqlWriter, work: Callable[[Writer], object]
    ) -> object:
        try:
            return work(writing)
        except LookupError as error:
            return error

    patched.setattr(transactions, "_attempt", run)


@pytest.mark.parametrize(
    "mistake",
    [
        run_a_completed_job_again,
        run_a_job_beside_itself,
        answer_before_the_new_result_is_there,
        answer_with_what_was_for_one_alone,
        count_no_failures,
        heed_no_loss,
        forget_the_first_reason,
        leave_a_deleted_output_in_results,
        delete_what_is_needed,
        take_reports_for_another_attempt,
        let_an_end_be_changed,
        claim_without_moving,
        claim_the_last_first,
        tell_nobody_of_claims,
        keep_the_work_of_one_that_raised,
    ],
)
def test_the_machine_sees_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
    machine: Machine,
) -> None:
    mistake(monkeypatch)
    # The database may see it first.
    with pytest.raises((AssertionError, sqlalchemy.exc.IntegrityError)):
        stateful.run_state_machine_as_test(machine, settings=SEEING)
