"""What every store does, asked through its port; a store's own test file says how to open it.

`StoreSuite` is everything. The behaviour of runs (claims and reports) and of questions stands in
files of its own beside this one.
"""

import abc
import asyncio
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from contract import store_suite_questions, store_suite_runs
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import committer
from dshpc_server.store.port import Attempt, NewBatch, Row, Store, Writer
from support import store_values as v

OpenStore: TypeAlias = Callable[[], Store]


class _Opened(abc.ABC):
    @pytest.fixture
    @abc.abstractmethod
    def open_store(self) -> OpenStore:
        """Opens the one store of the test; it is empty at first, and keeps what was written."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        opened = open_store()
        yield opened
        opened.close()


class _Accepting(_Opened):
    def test_a_new_job_is_submitted(self, store: Store) -> None:
        (row,) = v.accept(store, v.batch("b", "job"))
        assert (row.index, row.head, row.outcome) == (0, b"head 0", Outcome.SUBMITTED)
        assert (row.old_status, row.rejection) == (None, None)
        assert row.attempt == Attempt(
            key=v.report("job", Event.STARTED, number=1).key,
            status=JobStatus.PENDING,
            revision=1,
            function_hash=v.spec("job").function_hash,
            created_at=v.NOON,
            started_at=None,
            ended_at=None,
            result=None,
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
        assert second.old_status is None
        assert first.attempt == second.attempt

    def test_a_rejected_row_names_no_job_and_its_neighbours_are_taken(self, store: Store) -> None:
        bad, good = v.accept(store, v.batch("b", rows=[v.rejected(0), v.row(1, "job")]))
        assert (bad.outcome, bad.attempt) == (Outcome.REJECTED, None)
        assert bad.rejection == b"no such method"
        assert good.outcome is Outcome.SUBMITTED

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


class _Transactions(_Opened):
    def test_a_work_that_raises_leaves_nothing_and_its_neighbours_are_kept(
        self, store: Store
    ) -> None:
        def failing(writer: Writer) -> object:
            writer.accept(v.batch("bad", "bad", "shared"))
            writer.put_file(v.file_record("bad"))
            raise LookupError("after all that")

        commit = store.write(
            [_accepting(v.batch("a", "shared")), failing, _accepting(v.batch("c"))]
        )
        assert [type(answer) for answer in commit.answers] == [list, LookupError, list]
        assert [store.has_batch(batch_id) for batch_id in ("a", "bad", "c")] == [True, False, True]
        assert store.find_attempts([v.sha("bad")]) == {}
        assert store.find_file(v.sha("bad")) is None
        assert [change.key.job_id for change in commit.changes] == [v.sha("shared")]

    def test_works_see_what_those_before_them_did(self, store: Store) -> None:
        first, second = store.write(
            [_accepting(v.batch("a", "job")), _accepting(v.batch("b", "job"))]
        ).answers
        assert isinstance(first, list)
        assert isinstance(second, list)
        assert [row.outcome for row in first + second] == [
            Outcome.SUBMITTED,
            Outcome.FOUND_IN_PROGRESS,
        ]

    def test_a_commit_tells_every_change_in_order(self, store: Store) -> None:
        commit = store.write(
            [
                _accepting(v.batch("a", "x", "y", "x")),
                lambda writer: writer.claim(lambda _: True, 1),
                lambda writer: writer.record(
                    [v.report("x", Event.STARTED), v.report("x", Event.SUCCEEDED)]
                ),
                lambda writer: writer.record([v.report("x", Event.STARTED)]),
            ]
        )
        assert [(a.key.job_id, a.status, a.revision) for a in commit.changes] == [
            (v.sha("x"), JobStatus.PENDING, 1),
            (v.sha("y"), JobStatus.PENDING, 1),
            (v.sha("x"), JobStatus.CONFIGURING, 2),
            (v.sha("x"), JobStatus.RUNNING, 3),
            (v.sha("x"), JobStatus.COMPLETED, 4),
        ]

    def test_a_question_sees_nothing_of_a_write_that_goes_on(self, store: Store) -> None:
        def asking(writer: Writer) -> list[object]:
            writer.accept(v.batch("b", "job"))
            return [store.has_batch("b"), store.find_job(v.sha("job"))]

        assert v.write(store, asking) == [False, None]
        assert store.has_batch("b")

    async def test_of_many_who_ask_for_one_new_job_at_once_one_submits_it(
        self, store: Store
    ) -> None:
        changes: list[Attempt] = []
        async with committer.Committer(store, on_changes=changes.extend) as shared:
            answers = await asyncio.gather(
                *(shared.write(_accepting(v.batch(f"b{n}", "job"))) for n in range(20))
            )
        outcomes = [row.outcome for rows in answers for row in rows]
        assert sorted(outcomes) == [Outcome.FOUND_IN_PROGRESS] * 19 + [Outcome.SUBMITTED]
        assert [change.revision for change in changes] == [1]

    def test_what_was_written_is_there_after_closing(self, open_store: OpenStore) -> None:
        store = open_store()
        v.accept(store, v.batch("b", "done", "waiting"))
        v.end(store, "done")
        rows = store.find_rows("b", first_index=0, limit=9)
        store.close()
        store.close()
        again = open_store()
        assert again.find_rows("b", first_index=0, limit=9) == rows
        again.close()


def _accepting(batch: NewBatch) -> Callable[[Writer], list[Row]]:
    return lambda writer: list(writer.accept(batch))


class StoreSuite(
    _Accepting,
    _Transactions,
    store_suite_runs.Claiming,
    store_suite_runs.Recording,
    store_suite_questions.Questions,
    store_suite_questions.Files,
):
    """All of it."""
