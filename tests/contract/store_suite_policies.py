"""What every store decides for the policies of rows: which attempt answers, and what is run."""

import pytest

from dshpc_server.domain import lookup
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import Kept, Policy, ResubmitPolicy
from dshpc_server.store.port import Store
from dshpc_server.store.records import Row
from support import store_values as v

_A_DAY = lookup.ATTEMPT_WINDOW.total_seconds()


def _ask(store: Store, batch_id: str, policy: Policy = v.USUAL, at: float = 0) -> Row:
    (row,) = v.accept(store, v.batch(batch_id, "job", policy=policy, at=v.later(at)))
    return row


def _told(row: Row) -> tuple[Outcome, int | None]:
    return row.outcome, None if row.attempt is None else row.attempt.key.number


class Refreshing:
    def test_a_completed_job_is_run_anew_and_its_result_answers_until_the_new_one_is_there(
        self, store: Store
    ) -> None:
        _ask(store, "a")
        v.end(store, "job")
        assert _told(_ask(store, "anew", v.REFRESH)) == (Outcome.SUBMITTED, 2)
        assert _told(_ask(store, "meanwhile")) == (Outcome.FOUND_COMPLETED, 1)
        v.end(store, "job", number=2)
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 2)

    def test_a_new_run_that_fails_leaves_the_earlier_result_the_answer(self, store: Store) -> None:
        _ask(store, "a")
        v.end(store, "job")
        _ask(store, "anew", v.REFRESH)
        v.end(store, "job", Event.LOST, number=2)
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 1)
        assert v.status(store, "job") is JobStatus.NODE_FAIL

    def test_who_wants_it_anew_while_it_is_run_anew_waits_for_that(self, store: Store) -> None:
        _ask(store, "a")
        v.end(store, "job")
        _ask(store, "anew", v.REFRESH)
        for policy in (v.REFRESH, v.BYPASS):
            assert _told(_ask(store, f"{policy}", policy)) == (Outcome.FOUND_IN_PROGRESS, 2)
        v.end(store, "job", number=2)
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 2)

    def test_attempts_are_counted_afresh(self, store: Store) -> None:
        _fail(store, 2)
        twice = Policy(max_attempts=2)
        assert _ask(store, "kept", twice).kept is Kept.MAX_ATTEMPTS
        anew = _ask(store, "anew", v.REFRESH)
        assert (anew.outcome, anew.old_status) == (Outcome.RESUBMITTED, JobStatus.FAILED)
        v.end(store, "job", Event.EXITED_NONZERO, number=3)
        assert _told(_ask(store, "again", twice)) == (Outcome.RESUBMITTED, 4)


class Bypassing:
    def test_its_failures_do_not_count_for_others(self, store: Store) -> None:
        _fail(store, 1)
        for number in (2, 3):
            assert _told(_ask(store, f"own {number}", v.BYPASS)) == (Outcome.RESUBMITTED, number)
            v.end(store, "job", Event.EXITED_NONZERO, number=number)
        twice = Policy(max_attempts=2)
        assert _told(_ask(store, "again", twice)) == (Outcome.RESUBMITTED, 4)
        v.end(store, "job", Event.EXITED_NONZERO, number=4)
        assert _ask(store, "kept", twice).kept is Kept.MAX_ATTEMPTS

    def test_the_result_answers_nobody_else(self, store: Store) -> None:
        assert _told(_ask(store, "alone", v.BYPASS)) == (Outcome.SUBMITTED, 1)
        v.end(store, "job")
        assert _told(_ask(store, "only", v.ONLY)) == (Outcome.NOT_FOUND, None)
        assert _told(_ask(store, "usual")) == (Outcome.SUBMITTED, 2)
        (own,) = store.find_rows("alone", first_index=0, limit=1)
        assert own.attempt is not None
        assert own.attempt.status is JobStatus.COMPLETED

    def test_an_earlier_result_stays_the_answer(self, store: Store) -> None:
        _ask(store, "a")
        v.end(store, "job")
        assert _told(_ask(store, "alone", v.BYPASS)) == (Outcome.SUBMITTED, 2)
        assert _told(_ask(store, "meanwhile")) == (Outcome.FOUND_COMPLETED, 1)
        v.end(store, "job", number=2)
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 1)

    @pytest.mark.parametrize("policy", [v.USUAL, v.REFRESH])
    def test_a_run_that_somebody_else_waits_for_becomes_an_ordinary_one(
        self, store: Store, policy: Policy
    ) -> None:
        _ask(store, "alone", v.BYPASS)
        assert _told(_ask(store, "joins", policy)) == (Outcome.FOUND_IN_PROGRESS, 1)
        v.end(store, "job")
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 1)

    def test_so_it_does_within_one_batch(self, store: Store) -> None:
        rows = [v.row(0, "job", policy=v.BYPASS), v.row(1, "job"), v.row(2, "job", policy=v.ONLY)]
        told = [_told(row) for row in v.accept(store, v.batch("b", rows=rows))]
        assert told == [(Outcome.SUBMITTED, 1), *[(Outcome.FOUND_IN_PROGRESS, 1)] * 2]
        v.end(store, "job")
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 1)

    def test_another_who_wants_it_alone_waits_and_makes_it_nobodys_answer(
        self, store: Store
    ) -> None:
        _ask(store, "alone", v.BYPASS)
        assert _told(_ask(store, "too", v.BYPASS)) == (Outcome.FOUND_IN_PROGRESS, 1)
        v.end(store, "job")
        assert _told(_ask(store, "then")) == (Outcome.SUBMITTED, 2)

    def test_who_wants_it_alone_and_waits_for_a_refresh_leaves_the_earlier_result_the_answer(
        self, store: Store
    ) -> None:
        v.complete(store, "job", output="long", is_inline=False)
        _ask(store, "anew", v.REFRESH)
        lost = [v.sha("long")]
        (alone,) = v.accept(store, v.batch("alone", "job", policy=v.BYPASS, lost_outputs=lost))
        assert _told(alone) == (Outcome.FOUND_IN_PROGRESS, 2)
        v.end(store, "job", Event.EXITED_NONZERO, number=2)
        # The output has come back.
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 1)

    def test_a_refresh_that_waits_for_it_replaces_the_earlier_result(self, store: Store) -> None:
        _ask(store, "a")
        v.end(store, "job")
        _ask(store, "alone", v.BYPASS)
        assert _told(_ask(store, "anew", v.REFRESH)) == (Outcome.FOUND_IN_PROGRESS, 2)
        assert _told(_ask(store, "meanwhile")) == (Outcome.FOUND_COMPLETED, 1)
        v.end(store, "job", number=2)
        assert _told(_ask(store, "then")) == (Outcome.FOUND_COMPLETED, 2)

    def test_who_waits_for_one_that_replaces_a_failure_is_told_of_that(self, store: Store) -> None:
        _fail(store, 1)
        alone = _ask(store, "alone", v.BYPASS)
        joins = _ask(store, "joins")
        assert (alone.outcome, joins.outcome) == (Outcome.RESUBMITTED, Outcome.FOUND_IN_PROGRESS)
        assert alone.old_status is joins.old_status is JobStatus.FAILED
        assert store.find_rows("joins", first_index=0, limit=1) == [joins]

    def test_one_that_failed_alone_is_no_earlier_failure(self, store: Store) -> None:
        _ask(store, "alone", v.BYPASS)
        v.end(store, "job", Event.LOST)
        row = _ask(store, "then", Policy(resubmit=ResubmitPolicy.NEVER))
        assert (_told(row), row.old_status) == ((Outcome.SUBMITTED, 2), None)


class RunningNothing:
    def test_an_unknown_job_is_not_found_and_stays_unknown(self, store: Store) -> None:
        row = _ask(store, "only", v.ONLY)
        assert (row.outcome, row.attempt, row.rejection) == (Outcome.NOT_FOUND, None, None)
        assert store.find_rows("only", first_index=0, limit=1) == [row]
        assert store.find_job(v.sha("job")) is None
        assert v.claim_all(store) == []

    def test_a_later_row_of_the_same_batch_may_run_it(self, store: Store) -> None:
        rows = [v.row(0, "job", policy=v.ONLY), v.row(1, "job"), v.row(2, "job", policy=v.ONLY)]
        told = [_told(row) for row in v.accept(store, v.batch("b", rows=rows))]
        assert told == [
            (Outcome.NOT_FOUND, None),
            (Outcome.SUBMITTED, 1),
            (Outcome.FOUND_IN_PROGRESS, 1),
        ]

    @pytest.mark.parametrize(
        ("policy", "kept"),
        [(v.ONLY, Kept.ONLY), (Policy(resubmit=ResubmitPolicy.NEVER), Kept.NEVER)],
    )
    def test_an_earlier_failure_is_the_answer(
        self, store: Store, policy: Policy, kept: Kept
    ) -> None:
        _fail(store, 1)
        row = _ask(store, "asked", policy)
        assert (_told(row), row.old_status) == ((Outcome.FAILURE_KEPT, 1), JobStatus.FAILED)
        assert row.kept is kept
        assert row.attempt is not None
        assert row.attempt.result == b"result: done"
        assert store.find_rows("asked", first_index=0, limit=1) == [row]

    @pytest.mark.parametrize("exit_code", [lookup.PERMANENT_EXIT_CODE, 1])
    def test_a_failure_that_is_permanent_is_kept_by_those_who_heed_it(
        self, store: Store, exit_code: int
    ) -> None:
        _ask(store, "a")
        v.end(store, "job", Event.EXITED_NONZERO, ending=v.an_ending(exit_code=exit_code))
        row = _ask(store, "asked", Policy(resubmit=ResubmitPolicy.RETRIABLE))
        assert row.kept is (Kept.PERMANENT if exit_code == 78 else None)


class CountingFailures:
    def test_a_job_that_failed_too_often_is_not_run_again(self, store: Store) -> None:
        _fail(store, 2)
        row = _ask(store, "kept", Policy(max_attempts=2))
        assert (_told(row), row.kept) == ((Outcome.FAILURE_KEPT, 2), Kept.MAX_ATTEMPTS)
        assert _told(_ask(store, "more", Policy(max_attempts=3))) == (Outcome.RESUBMITTED, 3)

    def test_what_failed_long_ago_does_not_count(self, store: Store) -> None:
        _fail(store, 2)  # accepted one second apart
        twice, once = Policy(max_attempts=2), Policy(max_attempts=1)
        assert _ask(store, "one second left", twice, _A_DAY - 1).kept is Kept.MAX_ATTEMPTS
        assert _ask(store, "one is left", once, _A_DAY).kept is Kept.MAX_ATTEMPTS
        assert _told(_ask(store, "gone", once, _A_DAY + 1)) == (Outcome.RESUBMITTED, 3)

    def test_what_was_cancelled_does_not_count(self, store: Store) -> None:
        _ask(store, "a")
        v.cancel(store, "job")
        row = _ask(store, "again", Policy(max_attempts=1))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, JobStatus.CANCELLED)


class Previewing:
    def test_a_preview_tells_what_accepting_would_and_stores_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("before", "done", "failed", "waiting"))
        v.end(store, "done")
        v.record(store, v.report("failed", Event.LOST))
        rows = [v.row(index, name) for index, name in enumerate(("done", "failed", "waiting"))]
        rows += [v.row(3, "new"), v.row(4, "new"), v.rejected(5)]
        rows += [v.row(6, "none", policy=v.ONLY), v.row(7, "done", policy=v.BYPASS)]
        batch = v.batch("b", rows=rows)
        previewed = store.preview(batch)
        assert store.find_attempts([v.sha("new")]) == {}
        assert not store.has_batch("b")
        assert v.newest(store, "failed").key.number == 1
        assert v.unstamped(previewed) == v.unstamped(v.accept(store, batch))


def _fail(store: Store, times: int) -> None:
    """Have the job fail, each time a second later."""
    for number in range(1, times + 1):
        _ask(store, f"fails {number}", at=number - 1)
        v.end(store, "job", Event.EXITED_NONZERO, number=number)
