"""What every store does when content is deleted, and which content it knows to be unused."""

import dataclasses
import functools
from collections.abc import Sequence

import pytest

from contract.store_suite_opening import OpenStore
from dshpc_server import errors
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import ContentGoingError, Store, Writer
from dshpc_server.store.records import Attempt, FileRecord, Report
from support import store_values as v


class Deleting:
    def test_a_file_is_forgotten(self, store: Store) -> None:
        v.write(store, lambda writer: writer.put_file(v.file_record("content")))
        assert v.delete_file(store, v.sha("content"))
        assert store.find_file(v.sha("content")) is None
        assert not v.delete_file(store, v.sha("content"))
        assert not v.delete_file(store, v.sha("unknown"))

    def test_an_output_is_taken_out_of_every_result_that_holds_it(self, store: Store) -> None:
        for name in ("x", "y", "other"):
            v.complete(store, name, output="other" if name == "other" else "out")
        assert v.delete_file(store, v.sha("out"))
        results = [v.newest(store, name).result for name in ("x", "y", "other")]
        stripped = [v.without_output(b"result: of %s" % name) for name in (b"x", b"y")]
        assert results == [*stripped, b"result: of other"]
        assert store.find_output(v.sha("out")) is None
        assert store.find_outputs([v.sha("out")]) == set()
        assert not v.delete_file(store, v.sha("out"))

    @pytest.mark.parametrize("is_inline", [True, False])
    def test_a_job_whose_output_was_deleted_has_no_answer(
        self, store: Store, *, is_inline: bool
    ) -> None:
        v.complete(store, "job", output="out", is_inline=is_inline)
        assert v.delete_file(store, v.sha("out"))
        assert store.find_kept_outputs([v.sha("job")]) == set()
        only = v.accept(store, v.batch("only", "job", policy=v.ONLY))
        again = v.accept(store, v.batch("again", "job"))
        assert [row.outcome for row in only + again] == [Outcome.NOT_FOUND, Outcome.SUBMITTED]
        v.end(store, "job", number=2)
        (then,) = v.accept(store, v.batch("then", "job"))
        assert then.outcome is Outcome.FOUND_COMPLETED

    def test_an_input_of_a_job_in_progress_is_not_deleted(self, store: Store) -> None:
        file_hash = v.sha("input of job")
        v.write(store, lambda writer: writer.put_file(v.file_record("input of job")))
        v.accept(store, v.batch("b", "job"))
        with pytest.raises(errors.InUseError, match=v.sha("job")):
            v.delete_file(store, file_hash)
        assert store.find_file(file_hash) is not None
        v.end(store, "job")
        assert v.delete_file(store, file_hash)


class DeletingInTwoPhases:
    def test_what_is_going_is_nobodys_until_it_is_gone(self, store: Store) -> None:
        put(store, "content", "other")
        assert v.begin_deleting(store, v.sha("content"))
        assert store.find_deleting() == [v.sha("content")]
        assert store.find_file(v.sha("content")) is None
        assert hashes(store.find_files(after=None, limit=9)) == hashes([v.file_record("other")])
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert store.find_deleting() == []
        assert store.find_file(v.sha("content")) is None

    def test_a_batch_that_needs_it_is_refused_and_taken_once_it_is_gone(self, store: Store) -> None:
        put(store, "content")
        v.begin_deleting(store, v.sha("content"))
        needing = v.batch("needing", "job", file_hashes=[v.sha("other"), v.sha("content")])
        with pytest.raises(ContentGoingError, match=v.sha("content")) as refused:
            v.accept(store, needing)
        assert refused.value.file_hash == v.sha("content")
        assert not store.has_batch("needing")
        assert store.find_attempts([v.sha("job")]) == {}
        assert v.accept(store, v.batch("another", "job", file_hashes=[v.sha("other")]))
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert v.accept(store, needing)

    def test_nobody_puts_it_until_it_is_gone(self, store: Store) -> None:
        put(store, "content")
        v.begin_deleting(store, v.sha("content"))
        anew = v.file_record("content", at=v.later(60), filename="anew.csv")
        with pytest.raises(ContentGoingError):
            v.write(store, lambda writer: writer.put_file(anew))
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert v.write(store, lambda writer: writer.put_file(anew)) == anew

    def test_one_that_was_cut_off_is_known_and_begun_again(
        self, store: Store, open_store: OpenStore
    ) -> None:
        v.complete(store, "job", output="content", is_inline=False)
        v.begin_deleting(store, v.sha("content"))
        store.close()
        again = open_store()
        assert again.find_deleting() == [v.sha("content")]
        assert v.delete_file(again, v.sha("content"))
        assert again.find_deleting() == []
        again.close()

    def test_content_that_nothing_is_known_of_can_go_too(self, store: Store) -> None:
        assert not v.begin_deleting(store, v.sha("unknown"))
        assert store.find_deleting() == [v.sha("unknown")]
        v.write(store, lambda writer: writer.forget_file(v.sha("unknown")))
        assert store.find_deleting() == []

    def test_what_is_needed_is_not_marked(self, store: Store) -> None:
        put(store, "input of job")
        v.accept(store, v.batch("b", "job"))
        v.fail(store, "job", retry=3600.0)
        with pytest.raises(errors.InUseError):
            v.begin_deleting(store, v.sha("input of job"))
        assert store.find_deleting() == []

    def test_what_is_not_being_deleted_is_not_forgotten(self, store: Store) -> None:
        v.complete(store, "job", output="content", is_inline=False)
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert store.find_file(v.sha("content")) is not None
        assert store.find_kept_outputs([v.sha("job")]) == {v.sha("content")}

    def test_an_end_with_such_an_output_is_recorded_once_it_is_gone(self, store: Store) -> None:
        running(store, "job", "other")
        v.begin_deleting(store, v.sha("content"))
        ends = [completed("other", output="other"), completed("job", output="content")]
        with pytest.raises(ContentGoingError, match=v.sha("content")) as refused:
            v.record(store, *ends)
        assert refused.value.file_hash == v.sha("content")
        assert [v.status(store, name) for name in ("job", "other")] == [JobStatus.CONFIGURING] * 2
        assert store.find_file(v.sha("other")) is None
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert len(v.record(store, *ends)) == 2
        assert store.find_file(v.sha("content")) is not None
        (row,) = v.accept(store, v.batch("then", "job"))
        assert row.outcome is Outcome.FOUND_COMPLETED

    def test_the_ends_beside_it_in_a_group_are_recorded(self, store: Store) -> None:
        running(store, "job", "other")
        v.begin_deleting(store, v.sha("content"))
        ends = [completed("job", output="content"), completed("other", output="other")]
        commit = store.write([functools.partial(_record, end) for end in ends])
        assert isinstance(commit.answers[0], ContentGoingError)
        assert [each.key.job_id for each in commit.changes] == [v.sha("other")]
        assert v.status(store, "job") is JobStatus.CONFIGURING

    def test_a_report_that_is_dropped_needs_no_content(self, store: Store) -> None:
        v.complete(store, "job", output="content", is_inline=False)
        v.begin_deleting(store, v.sha("content"))
        late = completed("job", output="content")
        assert v.record(store, late, completed("unknown", output="content")) == []
        assert store.find_deleting() == [v.sha("content")]

    def test_an_output_that_its_result_holds_may_come_meanwhile(self, store: Store) -> None:
        v.begin_deleting(store, v.sha("content"))
        v.complete(store, "job", output="content")
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        assert store.find_file(v.sha("content")) is None
        (row,) = v.accept(store, v.batch("then", "job"))
        assert row.outcome is Outcome.FOUND_COMPLETED

    def test_a_result_that_was_taken_meanwhile_by_a_newer_one_stays_the_answer(
        self, store: Store
    ) -> None:
        v.complete(store, "job", output="content", is_inline=False)
        v.accept(store, v.batch("anew", "job", policy=v.REFRESH))
        v.begin_deleting(store, v.sha("content"))
        v.end(store, "job", number=2, ending=v.an_ending(output="new", is_inline=False))
        v.write(store, lambda writer: writer.forget_file(v.sha("content")))
        (row,) = v.accept(store, v.batch("then", "job"))
        assert row.outcome is Outcome.FOUND_COMPLETED


class Unused:
    def test_the_longest_unused_come_first_and_those_used_since_not_at_all(
        self, store: Store
    ) -> None:
        for seconds, name in ((3, "c"), (1, "a"), (2, "b"), (4, "d")):
            put(store, name, at=seconds)
        assert unused(store, 4) == named("a", "b", "c")
        assert unused(store, 4, limit=2) == named("a", "b")
        v.accept(store, v.batch("uses", at=v.later(9), file_hashes=[v.sha("a")]))
        assert unused(store, 4) == named("b", "c")

    def test_they_are_told_as_they_are(self, store: Store) -> None:
        put(store, "a")
        assert store.find_unused_files(before=v.later(1), limit=1) == [v.file_record("a")]

    def test_what_is_going_is_not_among_them(self, store: Store) -> None:
        put(store, "a", "b")
        v.begin_deleting(store, v.sha("a"))
        assert unused(store, 4) == named("b")

    def test_nothing_that_was_used_since_the_oldest_live_job_was_queued_is_among_them(
        self, store: Store
    ) -> None:
        put(store, "old", at=1)
        put(store, "input of job", at=2)
        put(store, "since", at=6)
        inputs = [v.sha("input of job")]
        v.accept(store, v.batch("b", "job", at=v.later(5), file_hashes=inputs))
        assert unused(store, 99) == named("old")
        v.claim_all(store)
        assert unused(store, 99) == named("old")
        v.end(store, "job", Event.EXITED_NONZERO)
        assert unused(store, 99) == named("old", "input of job", "since")

    def test_a_retry_needs_what_the_attempt_before_it_needed(self, store: Store) -> None:
        put(store, "input of job", at=2)
        inputs = [v.sha("input of job")]
        v.accept(store, v.batch("b", "job", at=v.later(5), file_hashes=inputs))
        for number in (1, 2):
            v.fail(store, "job", number=number)
            assert v.status(store, "job") is JobStatus.PENDING
            assert unused(store, 99) == []

    def test_what_a_batch_needs_that_waits_for_an_older_job_stays(self, store: Store) -> None:
        put(store, "needed", at=1)
        v.accept(store, v.batch("first", "job", at=v.later(5)))
        v.accept(store, v.batch("second", "job", at=v.later(7), file_hashes=[v.sha("needed")]))
        assert unused(store, 99) == []


def put(store: Store, *names: str, at: float = 0) -> None:
    for name in names:
        record = dataclasses.replace(v.file_record(name), last_used_at=v.later(at))
        v.write(store, functools.partial(_put, record))


def _put(record: FileRecord, writer: Writer) -> FileRecord:
    return writer.put_file(record)


def running(store: Store, *names: str) -> None:
    """Have these claimed."""
    v.accept(store, v.batch("running", *names))
    v.claim_all(store)


def completed(name: str, *, output: str) -> Report:
    """The end of a job whose output is in the content store."""
    return v.report(name, Event.SUCCEEDED, ending=v.an_ending(output=output, is_inline=False))


def _record(end: Report, writer: Writer) -> Sequence[Attempt]:
    return writer.record([end])


def unused(store: Store, before: float, *, limit: int = 9) -> list[str]:
    found = store.find_unused_files(before=v.later(before), limit=limit)
    return [record.file_hash for record in found]


def named(*names: str) -> list[str]:
    return [v.sha(name) for name in names]


def hashes(records: Sequence[FileRecord]) -> list[str]:
    return [record.file_hash for record in records]
