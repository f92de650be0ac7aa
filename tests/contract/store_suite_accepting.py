"""What every store does with a batch that asks as most do. Policies are elsewhere."""

import dataclasses

import pytest

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import Attempt
from support import store_values as v


class Accepting:
    def test_a_new_job_is_submitted(self, store: Store) -> None:
        (row,) = v.accept(store, v.batch("b", "job"))
        assert (row.index, row.head, row.outcome) == (0, b"head 0", Outcome.SUBMITTED)
        assert (row.old_status, row.kept, row.rejection) == (None, None, None)
        assert row.attempt == Attempt(
            key=v.report("job", Event.STARTED, number=1).key,
            status=JobStatus.PENDING,
            revision=1,
            function_hash=v.spec("job").function_hash,
            replaced=None,
            created_at=v.NOON,
            started_at=None,
            ended_at=None,
            result=None,
            chain=1,
            changed_at=row.changed_at,
        )
        assert v.newest(store, "job") == row.attempt

    def test_a_job_in_progress_is_found_without_result(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.claim_all(store)
        (row,) = v.accept(store, v.batch("second", "job"))
        assert row.outcome is Outcome.FOUND_IN_PROGRESS
        assert row.attempt is not None
        assert (row.attempt.status, row.attempt.result) == (JobStatus.CONFIGURING, None)
        assert v.claim_all(store) == []

    def test_a_completed_job_is_found_with_its_result(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job")
        (row,) = v.accept(store, v.batch("second", "job"))
        assert row.outcome is Outcome.FOUND_COMPLETED
        assert row.attempt is not None
        assert row.attempt.result == b"result: done"
        assert v.claim_all(store) == []

    @pytest.mark.parametrize(
        ("event", "old_status"),
        [
            (Event.EXITED_NONZERO, JobStatus.FAILED),
            (Event.LOST, JobStatus.NODE_FAIL),
            (Event.CANCELLED, JobStatus.CANCELLED),
        ],
    )
    def test_a_failed_job_gets_a_new_attempt(
        self, store: Store, event: Event, old_status: JobStatus
    ) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job", event)
        before = v.newest(store, "job")
        (row,) = v.accept(store, v.batch("second", "job", at=v.later(60)))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, old_status)
        assert row.attempt is not None
        assert (row.attempt.key.number, row.attempt.status) == (2, JobStatus.PENDING)
        assert row.attempt.revision == before.revision + 1
        assert row.attempt.created_at == v.later(60)
        assert v.claim_all(store) == [row.attempt.key]

    def test_the_second_of_two_equal_rows_finds_the_first(self, store: Store) -> None:
        first, other, second = v.accept(store, v.batch("b", "job", "other", "job"))
        assert [first.outcome, second.outcome] == [Outcome.SUBMITTED, Outcome.FOUND_IN_PROGRESS]
        assert first.attempt == second.attempt != other.attempt

    def test_the_second_of_two_equal_rows_finds_the_new_attempt_of_a_failed_job(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job", Event.EXITED_NONZERO)
        first, second = v.accept(store, v.batch("second", "job", "job"))
        assert [first.outcome, second.outcome] == [Outcome.RESUBMITTED, Outcome.FOUND_IN_PROGRESS]
        assert first.old_status is second.old_status is JobStatus.FAILED
        assert first.attempt == second.attempt

    def test_a_rejected_row_names_no_job_and_its_neighbours_are_taken(self, store: Store) -> None:
        bad, good = v.accept(store, v.batch("b", rows=[v.rejected(0), v.row(1, "job")]))
        assert (bad.outcome, bad.attempt) == (Outcome.REJECTED, None)
        assert bad.rejection == b"no such method"
        assert good.outcome is Outcome.SUBMITTED

    def test_a_row_that_cannot_be_run_now_is_answered_if_its_job_is_known_and_else_rejected(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("first", "done", "bad", "waiting"))
        v.end(store, "done")
        v.end(store, "bad", Event.EXITED_NONZERO)
        names = ("done", "bad", "waiting", "new", "new")
        rows = [
            dataclasses.replace(v.row(index, name), rejection=b"no file")
            for index, name in enumerate(names)
        ]
        answered = v.accept(store, v.batch("second", rows=rows))
        assert [(row.outcome, row.rejection) for row in answered] == [
            (Outcome.FOUND_COMPLETED, None),
            (Outcome.REJECTED, b"no file"),
            (Outcome.FOUND_IN_PROGRESS, None),
            (Outcome.REJECTED, b"no file"),
            (Outcome.REJECTED, b"no file"),
        ]
        assert store.find_rows("second", first_index=0, limit=9) == answered
        assert store.find_job(v.sha("new")) is None
        assert v.newest(store, "bad").key.number == 1

    def test_rows_are_answered_in_the_order_given_and_a_batch_may_be_empty(
        self, store: Store
    ) -> None:
        rows = v.accept(store, v.batch("b", rows=[v.row(7, "x"), v.rejected(3), v.row(5, "y")]))
        assert [row.index for row in rows] == [7, 3, 5]
        assert v.accept(store, v.batch("empty")) == []
        assert store.has_batch("empty")

    def test_a_job_keeps_the_method_name_it_was_first_submitted_with(self, store: Store) -> None:
        v.accept(store, v.batch("first", rows=[v.row(0, "job", method_name="count")]))
        v.accept(store, v.batch("second", rows=[v.row(0, "job", method_name="tally")]))
        record = store.find_job(v.sha("job"))
        assert record is not None
        assert record.spec == v.spec("job", method_name="count")

    def test_a_row_stays_with_the_attempt_that_answered_it(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job", Event.EXITED_NONZERO)
        v.accept(store, v.batch("second", "job"))
        v.end(store, "job", number=2)
        (old,) = store.find_rows("first", first_index=0, limit=9)
        (new,) = store.find_rows("second", first_index=0, limit=9)
        assert old.attempt is not None
        assert new.attempt is not None
        assert (old.attempt.key.number, old.attempt.status) == (1, JobStatus.FAILED)
        assert (new.attempt.key.number, new.attempt.status) == (2, JobStatus.COMPLETED)

    def test_a_batch_that_exists_is_refused_and_nothing_of_it_is_stored(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        with pytest.raises(ValueError, match="'b' exists"):
            v.accept(store, v.batch("b", "other"))
        assert store.find_attempts([v.sha("other")]) == {}
        assert len(store.find_rows("b", first_index=0, limit=9)) == 1

    def test_thousands_of_rows_are_taken_in_one_call(self, store: Store) -> None:
        names = [number % 1700 for number in range(2500)]
        rows = v.accept(store, v.batch("b", *names))
        assert [row.outcome for row in rows[:1700]] == [Outcome.SUBMITTED] * 1700
        assert [row.outcome for row in rows[1700:]] == [Outcome.FOUND_IN_PROGRESS] * 800
        assert store.find_rows("b", first_index=0, limit=9999) == rows

    def test_the_files_of_a_batch_are_touched_but_never_back_in_time(self, store: Store) -> None:
        v.write(store, lambda writer: writer.put_file(v.file_record("a")))
        v.write(store, lambda writer: writer.put_file(v.file_record("b", at=v.later(99))))
        hashes = [v.sha("a"), v.sha("b"), v.sha("unknown")]
        v.accept(store, v.batch("batch", "job", at=v.later(60), file_hashes=hashes))
        touched = [store.find_file(file_hash) for file_hash in hashes]
        assert [file and file.last_used_at for file in touched] == [v.later(60), v.later(99), None]
