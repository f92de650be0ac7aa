"""What every store does when jobs are to be stopped."""

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import Attempt, Ending
from support import store_values as v


class Cancelling:
    def test_what_waits_is_cancelled_with_the_end_that_is_made_of_it(self, store: Store) -> None:
        asked: list[Attempt] = []

        def end(attempt: Attempt) -> Ending:
            asked.append(attempt)
            return v.an_ending("withdrawn", reason="no more")

        v.accept(store, v.batch("b", "x", "y"))
        commit = store.write([lambda writer: writer.cancel([v.sha("x")], "no more", end)])
        cancelled = v.newest(store, "x")
        assert commit.answers == [[cancelled]]
        assert commit.changes == [cancelled]
        assert (cancelled.status, cancelled.revision) == (JobStatus.CANCELLED, 2)
        assert cancelled.result == b"result: withdrawn"
        # The end is made of the attempt as it is to be.
        assert [(a.status, a.revision, a.ended_at) for a in asked] == [
            (JobStatus.CANCELLED, 2, cancelled.ended_at)
        ]
        record = store.find_job(v.sha("x"))
        assert record is not None
        assert record.newest.cancel_reason == "no more"
        assert record.newest.ending == v.an_ending("withdrawn", reason="no more")
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("y")]

    def test_of_what_was_launched_the_first_reason_is_kept(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        before = v.newest(store, "job")
        assert v.cancel(store, "job", reason="first") == [before]
        assert v.cancel(store, "job", reason="second") == [before]
        (active,) = store.find_active()
        assert active.cancel_reason == "first"
        v.record(store, v.report("job", Event.CANCELLED))
        record = store.find_job(v.sha("job"))
        assert record is not None
        assert record.newest.cancel_reason == "first"

    def test_what_has_ended_is_left_as_it_is_and_what_is_unknown_is_left_out(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "done"))
        v.end(store, "done")
        v.accept(store, v.batch("c", "waiting"))
        done = store.find_job(v.sha("done"))
        answered = v.cancel(store, "waiting", "unknown", "done")
        assert answered == [v.newest(store, "waiting"), v.newest(store, "done")]
        assert store.find_job(v.sha("done")) == done

    def test_a_cancelled_job_is_run_again_when_asked_for(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.cancel(store, "job")
        v.cancel(store, "job", reason="too late")
        (row,) = v.accept(store, v.batch("c", "job"))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, JobStatus.CANCELLED)
        record = store.find_job(v.sha("job"))
        assert record is not None
        assert [each.cancel_reason for each in record.attempts] == ["not needed", None]
