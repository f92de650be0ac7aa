"""What every store does with files and outputs: their labels, and where an output lies."""

from dshpc_server.domain.job import Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import ListPosition
from support import store_values as v


class Files:
    def test_a_file_is_remembered_by_its_labels(self, store: Store) -> None:
        record = v.file_record("content", filename="π\u202e.csv")
        assert v.write(store, lambda writer: writer.put_file(record)) == record
        assert store.find_file(v.sha("content")) == record
        assert store.find_file(v.sha("other")) is None

    def test_a_known_file_keeps_its_labels_and_is_touched(self, store: Store) -> None:
        v.write(store, lambda writer: writer.put_file(v.file_record("content")))
        again = v.file_record("content", at=v.later(60), filename="other.csv")
        kept = v.write(store, lambda writer: writer.put_file(again))
        assert (kept.filename, kept.created_at) == ("a.csv", v.NOON)
        assert kept.last_used_at == v.later(60)
        assert store.find_file(v.sha("content")) == kept

    def test_files_are_listed_the_newest_first_in_pages(self, store: Store) -> None:
        made = [v.file_record(name, at=v.later(n // 2)) for n, name in enumerate("abcde")]
        v.write(store, lambda writer: [writer.put_file(record) for record in made])
        expected = sorted(made, key=lambda file: (file.created_at, file.file_hash), reverse=True)
        seen = list(store.find_files(after=None, limit=2))
        while page := store.find_files(
            after=ListPosition(at=seen[-1].created_at, name=seen[-1].file_hash), limit=2
        ):
            seen += page
        assert seen == expected


class Outputs:
    def test_those_that_results_hold_are_found_by_hash(self, store: Store) -> None:
        v.complete(store, "x", output="out")
        v.complete(store, "y", output="out")
        v.complete(store, "long", output="long", is_inline=False)
        v.complete(store, "silent", output="")
        v.accept(store, v.batch("b", "failed"))
        v.end(store, "failed", Event.LOST, ending=v.an_ending(output="broken"))
        found = store.find_output(v.sha("out"))
        assert found in (v.newest(store, "x"), v.newest(store, "y"))
        absent = {v.sha("broken"), v.sha("long"), v.sha("nothing"), ""}
        assert [store.find_output(each) for each in absent] == [None] * 4
        assert store.find_outputs({v.sha("out"), *absent}) == {v.sha("out")}
        assert store.find_outputs([]) == set()

    def test_those_in_the_content_store_have_a_record_without_labels(self, store: Store) -> None:
        v.complete(store, "short", output="short")
        v.complete(store, "long", output="long", is_inline=False)
        record = store.find_file(v.sha("long"))
        assert record is not None
        assert (record.size_bytes, record.filename, record.media_type) == (4, "", "")
        assert record.created_at == record.last_used_at == v.later(5)
        assert store.find_file(v.sha("short")) is None

    def test_one_that_is_a_file_already_keeps_its_labels_and_is_touched(self, store: Store) -> None:
        uploaded = v.file_record("long", at=v.NOON)
        v.write(store, lambda writer: writer.put_file(uploaded))
        v.complete(store, "job", output="long", is_inline=False)
        record = store.find_file(v.sha("long"))
        assert record is not None
        assert (record.filename, record.last_used_at) == ("a.csv", v.later(5))

    def test_one_that_is_uploaded_too_gets_the_labels(self, store: Store) -> None:
        v.complete(store, "job", output="long", is_inline=False)
        uploaded = v.file_record("long", at=v.later(60))
        record = v.write(store, lambda writer: writer.put_file(uploaded))
        assert (record.filename, record.media_type) == ("a.csv", "text/csv")
        assert (record.created_at, record.last_used_at) == (v.later(5), v.later(60))

    def test_those_are_named_that_a_look_up_would_answer_with_from_the_content_store(
        self, store: Store
    ) -> None:
        v.complete(store, "short", output="short")
        v.complete(store, "long", output="long", is_inline=False)
        v.complete(store, "anew", output="old", is_inline=False)
        v.accept(store, v.batch("again", "anew", policy=v.REFRESH))
        job_ids = [v.sha(name) for name in ("short", "long", "anew", "unknown")]
        assert store.find_kept_outputs(job_ids) == {v.sha("long"), v.sha("old")}
        v.end(store, "anew", number=2, ending=v.an_ending(output="new", is_inline=False))
        assert store.find_kept_outputs(job_ids) == {v.sha("long"), v.sha("new")}
        assert store.find_kept_outputs([]) == set()

    def test_a_job_whose_output_is_gone_is_run_again(self, store: Store) -> None:
        v.complete(store, "job", output="long", is_inline=False)
        lost = [v.sha("long")]
        only = v.accept(store, v.batch("only", "job", policy=v.ONLY, lost_outputs=lost))
        again = v.accept(store, v.batch("again", "job", "job", lost_outputs=lost))
        assert [row.outcome for row in only] == [Outcome.NOT_FOUND]
        assert [row.outcome for row in again] == [Outcome.SUBMITTED, Outcome.FOUND_IN_PROGRESS]
        # What runs now answers, whether the output comes back or not.
        later = v.accept(store, v.batch("later", "job"))
        assert [row.outcome for row in later] == [Outcome.FOUND_IN_PROGRESS]

    def test_a_result_that_holds_the_same_output_is_not_gone(self, store: Store) -> None:
        v.complete(store, "job", output="short")
        lost = [v.sha("short")]
        (row,) = v.accept(store, v.batch("again", "job", lost_outputs=lost))
        assert row.outcome is Outcome.FOUND_COMPLETED
