"""What every store does with rows that wait for others: kept, settled, released or skipped."""

import dataclasses
import datetime

import pytest

from dshpc_server import errors
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import ContentGoingError, Store
from dshpc_server.store.undecided import Upstreams
from support import store_values as v
from support import store_waiting as w

FAILS = Event.EXITED_NONZERO
NOBODY = Upstreams()


def outcomes(store: Store, batch_id: str = "b") -> list[Outcome]:
    return [row.outcome for row in v.rows_of(store, batch_id)]


def accept(store: Store, *rows: object) -> None:
    v.accept(store, v.batch("b", rows=rows))  # type: ignore[arg-type] # rows, as they are made here


class Waiting:
    def test_a_row_that_waits_has_no_attempt_and_runs_nothing(self, store: Store) -> None:
        first, second = v.accept(store, v.batch("b", rows=w.after((0, 1))))
        assert first.outcome is Outcome.SUBMITTED
        assert (second.outcome, second.attempt, second.rejection) == (Outcome.PENDING, None, None)
        assert v.rows_of(store, "b") == [first, second]
        assert v.claim_all(store) == [AttemptKey(job_id=v.sha("first"), number=1)]
        assert w.ready_rows(w.settle(store, None)) == []

    def test_whether_any_row_waits_is_told(self, store: Store) -> None:
        v.accept(store, v.batch("a", "first"))
        assert not store.has_undecided()
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        assert store.has_undecided()
        v.end(store, "first")
        w.release_all(store, w.settle(store, None))
        assert not store.has_undecided()

    def test_a_row_that_is_withdrawn_waits_for_nothing_more(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.withdraw(store, "b", 1)
        assert not store.has_undecided()
        v.end(store, "first")
        assert w.ready_rows(w.settle(store, None)) == []
        assert v.rows_of(store, "b")[1].status is JobStatus.CANCELLED

    def test_a_row_that_waits_may_stand_before_what_it_waits_for(self, store: Store) -> None:
        accept(store, w.waiting(0, w.on_row(1)), v.row(1, "first"))
        v.end(store, "first")
        assert w.ready_rows(w.settle_jobs(store, "first")) == [("b", 0)]

    def test_a_row_is_ready_when_all_it_waits_for_has_ended_as_it_should(
        self, store: Store
    ) -> None:
        names = ["a", "b", "c"]
        accept(
            store,
            *(v.row(index, name) for index, name in enumerate(names)),
            w.waiting(3, *(w.on_row(index) for index in range(3))),
        )
        for name in names[:-1]:
            v.end(store, name)
            assert w.ready_rows(w.settle_jobs(store, name)) == []
        v.end(store, "c")
        assert w.ready_rows(w.settle_jobs(store, "c")) == [("b", 3)]

    @pytest.mark.parametrize("is_named", [True, False])
    def test_settling_again_changes_nothing(self, store: Store, *, is_named: bool) -> None:
        accept(store, v.row(0, "a"), v.row(1, "b"), w.waiting(2, w.on_row(0), w.on_row(1)))
        v.end(store, "a")
        upstreams = Upstreams(job_ids=[v.sha("a")]) if is_named else None
        for _ in range(3):
            assert w.ready_rows(w.settle(store, upstreams)) == []
        v.end(store, "b")
        for _ in range(3):
            assert w.ready_rows(w.settle_jobs(store, "b", "a")) == [("b", 2)]

    def test_what_was_not_asked_about_is_not_settled(self, store: Store) -> None:
        accept(store, v.row(0, "a"), v.row(1, "b"), w.waiting(2, w.on_row(0)))
        v.end(store, "a")
        assert w.ready_rows(w.settle_jobs(store, "b")) == []
        assert w.ready_rows(w.settle(store, NOBODY)) == []
        assert w.ready_rows(w.settle(store, Upstreams(rows={"b": [1], "other": [0]}))) == []
        assert w.ready_rows(w.settle(store, Upstreams(rows={"b": [0]}))) == [("b", 2)]
        assert w.ready_rows(w.settle(store, NOBODY)) == [("b", 2)]

    def test_what_had_ended_before_is_settled_with_the_batch(self, store: Store) -> None:
        v.complete(store, "first", output="text")
        v.accept(store, v.batch("other", rows=w.after((0, 1))))
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        assert w.ready_rows(w.settle_batches(store, "b")) == [("b", 1)]

    def test_a_retry_stands_for_what_it_retries(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.fail(store, "first")
        assert w.ready_rows(w.settle_jobs(store, "first")) == []
        assert outcomes(store) == [Outcome.SUBMITTED, Outcome.PENDING]
        v.end(store, "first", number=2)
        assert w.ready_rows(w.settle_jobs(store, "first")) == [("b", 1)]

    def test_the_run_of_a_row_is_waited_for_not_a_later_one(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.end(store, "first", FAILS)
        v.accept(store, v.batch("later", "first"))
        v.end(store, "first", number=2)
        w.settle_jobs(store, "first")
        assert outcomes(store) == [Outcome.SUBMITTED, Outcome.WITHHELD]

    def test_a_job_of_another_batch_can_be_waited_for(self, store: Store) -> None:
        v.accept(store, v.batch("before", "job", "other"))
        accept(store, w.waiting(0, w.on_job("job")), w.waiting(1, w.on_job("other")))
        v.end(store, "job")
        assert w.ready_rows(w.settle_jobs(store, "job")) == [("b", 0)]
        v.fail(store, "other")
        assert w.ready_rows(w.settle_jobs(store, "other")) == [("b", 0)]
        v.end(store, "other", number=2)
        assert w.ready_rows(w.settle_jobs(store, "other")) == [("b", 0), ("b", 1)]

    def test_the_chain_of_a_job_is_waited_for_not_a_later_one(self, store: Store) -> None:
        v.accept(store, v.batch("before", "job"))
        v.end(store, "job", FAILS)
        v.accept(store, v.batch("again", "job"))
        accept(store, w.waiting(0, w.on_job("job", 1, Condition.FAILED)))
        assert w.ready_rows(w.settle_batches(store, "b")) == [("b", 0)]

    def test_a_rejected_row_has_ended(self, store: Store) -> None:
        accept(
            store,
            v.rejected(0),
            w.waiting(1, w.on_row(0, Condition.FINISHED)),
            w.waiting(2, w.on_row(0, Condition.FAILED)),
        )
        assert w.ready_rows(w.settle_batches(store, "b")) == [("b", 1)]
        assert outcomes(store) == [Outcome.REJECTED, Outcome.PENDING, Outcome.WITHHELD]

    def test_outputs_become_the_inputs_of_who_waited_for_them(self, store: Store) -> None:
        v.complete(store, "before", output="old")
        accept(
            store,
            v.row(0, "retried"),
            v.row(1, "done"),
            w.waiting(
                2,
                w.on_row(0, input_name="left"),
                w.on_row(1),
                w.on_job("before", input_name="right"),
            ),
        )
        v.end(store, "done", ending=v.an_ending(output="not asked for"))
        v.fail(store, "retried")
        v.end(store, "retried", number=2, ending=v.an_ending(output="new", is_inline=False))
        (ready,) = w.settle(store, None).ready
        assert (ready.batch_id, ready.index, ready.head) == ("b", 2, b"head 2")
        given = w.waiting(2).undecided
        assert given is not None
        inputs = {"known": v.sha("known"), "left": v.sha("new"), "right": v.sha("old")}
        assert ready.plan == dataclasses.replace(given, inputs=inputs)


class Skipping:
    @pytest.mark.parametrize("condition", Condition)
    @pytest.mark.parametrize("event", [Event.SUCCEEDED, FAILS, Event.OVER_TIME, Event.CANCELLED])
    def test_a_row_whose_condition_cannot_be_met_is_skipped(
        self, store: Store, condition: Condition, event: Event
    ) -> None:
        met = {
            Condition.SUCCEEDED: event is Event.SUCCEEDED,
            Condition.FAILED: event in (FAILS, Event.OVER_TIME),
            Condition.FINISHED: True,
        }[condition]
        accept(store, v.row(0, "first"), w.waiting(1, w.on_row(0, condition)))
        v.end(store, "first", event)
        settled = w.settle_jobs(store, "first")
        assert w.ready_rows(settled) == ([("b", 1)] if met else [])
        assert settled.skipped == ({} if met else {"b": [1]})
        assert outcomes(store)[1] is (Outcome.PENDING if met else Outcome.WITHHELD)

    def test_a_row_that_is_skipped_says_why(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1), (1, 2))))
        v.end(store, "first", FAILS)
        w.settle_jobs(store, "first")
        _, second, third = v.rows_of(store, "b")
        assert (second.outcome, second.ended_as, second.status) == (
            Outcome.WITHHELD,
            JobStatus.SKIPPED,
            JobStatus.SKIPPED,
        )
        assert second.ending == b"SUCCEEDED of row 0, which is FAILED"
        assert third.ending == b"SUCCEEDED of row 1, which is SKIPPED"
        assert [second.attempt, third.attempt] == [None, None]

    def test_skipping_goes_down_as_far_as_it_must_and_no_further(self, store: Store) -> None:
        accept(
            store,
            v.row(0, "first"),
            v.row(1, "other"),
            w.waiting(2, w.on_row(0)),
            w.waiting(3, w.on_row(2), w.on_row(1)),
            w.waiting(4, w.on_row(3, Condition.FINISHED)),
            w.waiting(5, w.on_row(1)),
            w.waiting(6, w.on_row(4)),
        )
        v.end(store, "first", FAILS)
        settled = w.settle_jobs(store, "first")
        assert settled.skipped == {"b": [2, 3]}
        assert w.ready_rows(settled) == [("b", 4)]
        assert outcomes(store)[2:] == [Outcome.WITHHELD] * 2 + [Outcome.PENDING] * 3

    def test_one_unmet_condition_of_many_is_enough_at_once(self, store: Store) -> None:
        accept(store, v.row(0, "a"), v.row(1, "b"), w.waiting(2, w.on_row(0), w.on_row(1)))
        v.end(store, "a", FAILS)
        assert w.settle_jobs(store, "a").skipped == {"b": [2]}
        v.end(store, "b")
        assert w.settle_jobs(store, "b").skipped == {}
        assert not store.has_undecided()

    def test_a_long_chain_is_skipped_to_its_end(self, store: Store) -> None:
        pairs = [(index, index + 1) for index in range(1_500)]
        v.accept(store, v.batch("b", rows=w.after(*pairs)))
        v.end(store, "first", FAILS)
        assert w.settle_jobs(store, "first").skipped == {"b": list(range(1, 1_501))}

    def test_other_batches_go_on(self, store: Store) -> None:
        v.accept(store, v.batch("a", rows=w.after((0, 1))))
        accept(store, v.row(0, "elsewhere"), w.waiting(1, w.on_row(0)))
        v.end(store, "first", FAILS)
        assert w.settle(store, None).skipped == {"a": [1]}
        assert outcomes(store) == [Outcome.SUBMITTED, Outcome.PENDING]


class Releasing:
    def test_a_ready_row_is_decided_as_at_an_acceptance(self, store: Store) -> None:
        v.complete(store, "done", output="x")
        v.accept(store, v.batch("b", rows=w.after((0, 1), (0, 2))))
        v.end(store, "first")
        one, two = w.settle_jobs(store, "first").ready
        rows = w.release(store, "b", w.found_ready(one, "done"), w.found_ready(two, "new"))
        assert [row.outcome for row in rows] == [Outcome.FOUND_COMPLETED, Outcome.SUBMITTED]
        assert v.rows_of(store, "b")[1:] == rows
        assert rows[0].head == b"head 1 and more"
        new = rows[1].attempt
        assert new is not None
        assert (new.key.number, new.status, new.created_at) == (1, JobStatus.PENDING, v.later(60))
        assert v.claim_all(store) == [new.key]

    def test_a_row_is_released_once(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.end(store, "first")
        settled = w.settle_jobs(store, "first")
        assert len(w.release_all(store, settled)) == 1
        assert w.release_all(store, settled) == []
        assert w.ready_rows(w.settle(store, None)) == []
        assert len(v.claim_all(store)) == 1

    def test_a_row_that_is_not_ready_is_passed_over(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1), (1, 2))))
        v.end(store, "first")
        (ready,) = w.settle_jobs(store, "first").ready
        too_early = dataclasses.replace(w.found_ready(ready, "other"), index=2)
        assert w.release(store, "b", too_early) == []
        assert outcomes(store) == [Outcome.SUBMITTED, Outcome.PENDING, Outcome.PENDING]
        assert store.find_job(v.sha("other")) is None

    def test_a_released_row_may_name_no_job_and_has_ended_then(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1), (1, 2))))
        v.end(store, "first")
        w.settle_jobs(store, "first")
        (row,) = w.release(store, "b", dataclasses.replace(v.rejected(1), head=b"head 1"))
        assert (row.outcome, row.rejection) == (Outcome.REJECTED, b"no such method")
        assert w.settle(store, Upstreams(rows={"b": [1]})).skipped == {"b": [2]}

    def test_who_waits_for_a_released_row_goes_on_when_that_has_ended(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1), (1, 2))))
        v.end(store, "first")
        w.release_all(store, w.settle_jobs(store, "first"))
        assert w.ready_rows(w.settle(store, None)) == []
        v.end(store, "b.1")
        assert w.ready_rows(w.settle_jobs(store, "b.1")) == [("b", 2)]

    def test_a_released_row_takes_its_turn_as_one_of_a_batch_that_comes_now(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.end(store, "first")
        v.accept(store, v.batch("later", "next", "last", at=v.later(30)))
        w.release_all(store, w.settle_jobs(store, "first"))
        order = [v.sha("next"), v.sha("b.1"), v.sha("last")]
        assert [key.job_id for key in v.claim_all(store)] == order

    def test_a_released_row_queues_with_its_own_priority_or_that_of_its_batch(
        self, store: Store
    ) -> None:
        rows = w.after((0, 1), (0, 2))
        rows[2] = dataclasses.replace(rows[2], priority=5)
        v.accept(store, dataclasses.replace(v.batch("b", rows=rows), priority=-5))
        v.end(store, "first")
        v.accept(store, v.batch("later", "theirs"))
        ready = w.settle_jobs(store, "first").ready
        assert [each.priority for each in ready] == [None, 5]
        released = [
            dataclasses.replace(w.found_ready(each, each.index), priority=each.priority)
            for each in ready
        ]
        w.release(store, "b", *released)
        first, last = v.sha(2), v.sha(1)
        assert [key.job_id for key in v.claim_all(store)] == [first, v.sha("theirs"), last]

    def test_the_changes_of_a_release_are_told(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.end(store, "first")
        (ready,) = w.settle_jobs(store, "first").ready
        batch = v.batch("b", at=v.later(60), rows=[w.found_ready(ready, "new")])
        commit = store.write([lambda writer: writer.release(batch)])
        assert [change.key.job_id for change in commit.changes] == [v.sha("new")]

    def test_nothing_is_released_that_needs_what_is_being_deleted(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=w.after((0, 1))))
        v.end(store, "first")
        (ready,) = w.settle_jobs(store, "first").ready
        v.write(store, lambda writer: writer.put_file(v.file_record("going")))
        v.begin_deleting(store, v.sha("going"))
        rows = [w.found_ready(ready, "new")]
        with pytest.raises(ContentGoingError):
            w.write_release(store, v.batch("b", rows=rows, file_hashes=[v.sha("going")]))
        assert outcomes(store) == [Outcome.SUBMITTED, Outcome.PENDING]
        assert w.release(store, "b", *rows)


class Needing:
    def test_what_a_waiting_row_needs_is_not_deleted(self, store: Store) -> None:
        v.complete(store, "before", output="old", is_inline=False)
        v.accept(store, v.batch("begun", "unrelated"))
        accept(
            store,
            v.row(0, "first"),
            w.waiting(1, w.on_row(0), w.on_job("before", input_name="left")),
        )
        for needed in ("known", "old"):
            with pytest.raises(errors.InUseError):
                v.begin_deleting(store, v.sha(needed))
        v.end(store, "first", FAILS)
        w.settle_jobs(store, "first")
        for needed in ("known", "old"):
            v.delete_file(store, v.sha(needed))

    def test_what_a_waiting_row_needs_does_not_count_as_unused(self, store: Store) -> None:
        used = v.file_record("known", at=v.later(-1))
        v.write(store, lambda writer: writer.put_file(used))
        v.accept(
            store,
            v.batch("b", rows=w.after((0, 1)), file_hashes=[v.sha("known")], at=v.NOON),
        )
        v.end(store, "first")

        def unused() -> list[str]:
            long_after = v.NOON + datetime.timedelta(days=30)
            return [each.file_hash for each in store.find_unused_files(before=long_after, limit=9)]

        w.settle_jobs(store, "first")
        assert unused() == []
        w.release_all(store, w.settle(store, None))
        v.end(store, "b.1")
        assert unused() == [v.sha("known")]
