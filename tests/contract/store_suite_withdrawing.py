"""What every store does when a batch wants its rows no more."""

from collections.abc import Sequence
from typing import cast

import pytest
import sqlalchemy

from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import Withdrawal, Withdrawn
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v

CANCELLED, COMPLETED, PENDING = JobStatus.CANCELLED, JobStatus.COMPLETED, JobStatus.PENDING
RUNNING = JobStatus.RUNNING


def statuses(store: Store, batch_id: str) -> list[JobStatus | None]:
    return [row.status for row in v.rows_of(store, batch_id)]


def counts(withdrawn: Withdrawn | None) -> tuple[int, int, int]:
    """Cancel requested, detached, already terminal."""
    assert withdrawn is not None
    return withdrawn.cancel_requested, withdrawn.detached, withdrawn.already_terminal


def run(store: Store, *names: str) -> None:
    """Claim whatever waits, and let these start."""
    v.claim_all(store)
    v.record(store, *(v.report(name, Event.STARTED) for name in names))


def make_undecided(store: Store, batch_id: str, index: int) -> None:
    """Have a row wait for another job's output before it is looked up."""
    with cast("SqlStore", store)._writers.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "UPDATE batch_rows SET outcome = 'PENDING', job_id = NULL, attempt = NULL"
                " WHERE batch_id = :batch AND row_index = :index"
            ),
            {"batch": batch_id, "index": index},
        )


def reason(store: Store, batch_id: str) -> str | None:
    batch = store.find_batch(batch_id)
    assert batch is not None
    return batch.cancel_reason


class Withdrawing:
    def test_what_waits_leaves_the_queue_and_what_runs_is_to_be_stopped(self, store: Store) -> None:
        v.accept(store, v.batch("b", "runs"))
        run(store, "runs")
        v.accept(store, v.batch("c", "runs too"))
        v.accept(store, v.batch("d", "waits"))
        assert v.withdraw(store, "d") == Withdrawn(
            cancel_requested=1, detached=0, already_terminal=0, to_stop=[]
        )
        assert v.withdraw(store, "b", reason="enough") == Withdrawn(
            cancel_requested=1,
            detached=0,
            already_terminal=0,
            to_stop=[AttemptKey(job_id=v.sha("runs"), number=1)],
        )
        assert [statuses(store, each) for each in "bcd"] == [[RUNNING], [PENDING], [CANCELLED]]
        (active,) = store.find_active()
        assert active.cancel_reason == "enough"
        assert (reason(store, "b"), reason(store, "c")) == ("enough", None)
        (ended,) = v.rows_of(store, "d")
        # It shows how its attempt ended, and nothing of its own.
        assert (ended.outcome, ended.ended_as, ended.ending) == (Outcome.SUBMITTED, None, None)
        assert ended.attempt is not None
        assert ended.attempt.result == b"result: withdrawn"
        v.record(store, v.report("runs", Event.CANCELLED))
        assert statuses(store, "b") == [CANCELLED]

    def test_what_another_batch_waits_for_goes_on_and_the_row_is_detached(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("a", "job"))
        v.accept(store, v.batch("b", "job"))
        run(store, "job")
        assert counts(v.withdraw(store, "a")) == (0, 1, 0)
        (row,) = v.rows_of(store, "a")
        assert (row.status, row.ending) == (CANCELLED, b"detached from 1")
        assert (row.outcome, reason(store, "a")) == (Outcome.SUBMITTED, "not needed")
        (active,) = store.find_active()
        assert active.cancel_reason is None
        v.record(store, v.report("job", Event.SUCCEEDED))
        assert (statuses(store, "a"), statuses(store, "b")) == ([CANCELLED], [COMPLETED])
        assert v.rows_of(store, "a", CANCELLED)[0].ending == b"detached from 1"
        assert v.rows_of(store, "a", COMPLETED) == []

    def test_the_last_who_goes_stops_it(self, store: Store) -> None:
        for batch_id in "abc":
            v.accept(store, v.batch(batch_id, "job"))
        run(store, "job")
        told = [v.withdraw(store, batch_id) for batch_id in "acb"]
        assert [counts(each) for each in told] == [(0, 1, 0), (0, 1, 0), (1, 0, 0)]
        assert [len(each.to_stop) for each in told if each] == [0, 0, 1]

    def test_who_has_the_answer_of_an_ended_run_does_not_wait_for_a_new_one(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("old", "job"))
        v.end(store, "job")
        v.accept(store, v.batch("found", "job"))
        v.accept(store, v.batch("anew", "job", policy=v.REFRESH))
        assert counts(v.withdraw(store, "anew")) == (1, 0, 0)
        assert statuses(store, "anew") == [CANCELLED]
        assert statuses(store, "old") == statuses(store, "found") == [COMPLETED]

    def test_a_retry_is_withdrawn_as_what_it_retries(self, store: Store) -> None:
        v.accept(store, v.batch("a", "job"))
        v.fail(store, "job")
        assert counts(v.withdraw(store, "a")) == (1, 0, 0)
        assert v.shown(store, "a") == (2, CANCELLED)
        v.accept(store, v.batch("b", "job"))
        v.accept(store, v.batch("c", "job"))
        v.fail(store, "job", number=3)
        assert counts(v.withdraw(store, "c")) == (0, 1, 0)
        assert v.shown(store, "b") == (4, PENDING)

    def test_asking_again_changes_nothing_and_the_first_reason_counts(self, store: Store) -> None:
        v.accept(store, v.batch("other", "shared"))
        v.accept(store, v.batch("b", "shared", "own", "waits", "done"))
        v.end(store, "done")
        run(store, "shared", "own")
        assert counts(v.withdraw(store, "b", reason="first")) == (2, 1, 1)
        before = v.rows_of(store, "b")
        assert v.withdraw(store, "b", reason="second") == Withdrawn(
            cancel_requested=0, detached=0, already_terminal=4, to_stop=[]
        )
        assert v.rows_of(store, "b") == before
        assert reason(store, "b") == "first"
        assert {each.cancel_reason for each in store.find_active()} == {None, "first"}

    def test_a_batch_that_has_ended_is_not_cancelled(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.row(0, "done"), v.rejected(1)]))
        v.end(store, "done")
        assert counts(v.withdraw(store, "b")) == (0, 0, 2)
        assert reason(store, "b") is None

    def test_an_unknown_batch_is_none(self, store: Store) -> None:
        assert v.withdraw(store, "nobody") is None

    def test_who_asks_for_what_was_stopped_has_it_run_again(self, store: Store) -> None:
        v.accept(store, v.batch("a", "job"))
        v.withdraw(store, "a")
        (row,) = v.accept(store, v.batch("b", "job"))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, CANCELLED)

    def test_who_was_detached_finds_the_run_when_it_asks_again(self, store: Store) -> None:
        for batch_id in "ab":
            v.accept(store, v.batch(batch_id, "job"))
        v.withdraw(store, "a")
        (row,) = v.accept(store, v.batch("again", "job"))
        assert row.outcome is Outcome.FOUND_IN_PROGRESS
        assert counts(v.withdraw(store, "b")) == (0, 1, 0)
        assert counts(v.withdraw(store, "again")) == (1, 0, 0)

    def test_what_waits_for_no_run_yet_is_withheld(self, store: Store) -> None:
        v.accept(store, v.batch("b", "first", "then"))
        make_undecided(store, "b", 1)
        v.accept(store, v.batch("other", "first"))
        assert counts(v.withdraw(store, "b")) == (1, 1, 0)
        withheld = v.rows_of(store, "b")[1]
        assert (withheld.outcome, withheld.status) == (Outcome.WITHHELD, CANCELLED)
        assert (withheld.attempt, withheld.ending) == (None, b"row ended")
        assert counts(v.withdraw(store, "b")) == (0, 0, 2)

    def test_who_is_left_may_be_in_less_of_a_hurry(self, store: Store) -> None:
        v.accept(store, v.batch("low", "shared", priority=-5))
        v.accept(store, v.batch("urgent", "shared", priority=50))
        v.accept(store, v.batch("usual", "other", at=v.later(1)))
        assert counts(v.withdraw(store, "urgent")) == (0, 1, 0)
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("other"), v.sha("shared")]

    def test_a_commit_tells_the_attempts_and_the_rows_that_changed(self, store: Store) -> None:
        v.accept(store, v.batch("other", "shared"))
        v.accept(store, v.batch("b", "shared", "own", "shared"))
        before = [row.changed_at for row in v.rows_of(store, "b")]
        ending = v.an_ending("withdrawn")
        asked = Withdrawal(batch_id="b", indexes=None, reason="why")
        commit = store.write([lambda w: w.withdraw(asked, lambda _: ending, v.row_ending)])
        assert [each.key.job_id for each in commit.changes] == [v.sha("own")]
        assert [(each.batch_id, list(each.indexes)) for each in commit.rows] == [("b", [0, 2])]
        after = [row.changed_at for row in v.rows_of(store, "b")]
        assert [now > then for now, then in zip(after, before, strict=True)] == [True, False, True]
        again = store.write([lambda w: w.withdraw(asked, lambda _: ending, v.row_ending)])
        assert (list(again.changes), list(again.rows)) == ([], [])


class WithdrawingSome:
    def test_only_those_rows_are_withdrawn_and_the_batch_is_not_cancelled(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "x", "y", "z"))
        assert counts(v.withdraw(store, "b", 0, 2)) == (2, 0, 0)
        assert statuses(store, "b") == [CANCELLED, PENDING, CANCELLED]
        assert reason(store, "b") is None

    def test_a_run_that_another_row_of_the_batch_waits_for_goes_on(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job", "other", "job", "job"))
        assert counts(v.withdraw(store, "b", 0, 1)) == (1, 1, 0)
        assert statuses(store, "b") == [CANCELLED, CANCELLED, PENDING, PENDING]
        assert counts(v.withdraw(store, "b", 2, 3)) == (2, 0, 0)
        assert statuses(store, "b") == [CANCELLED] * 4
        assert [row.ended_as for row in v.rows_of(store, "b")] == [CANCELLED, None, None, None]

    @pytest.mark.parametrize("indexes", [(0, 0, 1), (1, 7, 0), (0, 1, -1)])
    def test_what_is_named_twice_counts_once_and_what_is_not_there_not_at_all(
        self, store: Store, indexes: Sequence[int]
    ) -> None:
        v.accept(store, v.batch("b", "done", "waits", "stays"))
        v.record(store, v.report("done", Event.CANCELLED))
        assert counts(v.withdraw(store, "b", *indexes)) == (1, 0, 1)

    def test_many_rows_are_withdrawn_as_few_are(self, store: Store) -> None:
        v.accept(store, v.batch("b", *range(1200)))
        assert counts(v.withdraw(store, "b", *range(0, 1200, 2))) == (600, 0, 0)
        assert counts(v.withdraw(store, "b")) == (600, 0, 600)
