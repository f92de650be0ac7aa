"""What every store answers."""

import pytest

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from support import store_values as v


class Questions:
    @pytest.fixture
    def mixed(self, store: Store) -> Store:
        """A batch of each kind of row: 0 done, 1 waiting, 2 rejected, 3 failed before, 4 as 0."""
        v.accept(store, v.batch("before", "done", "failed"))
        v.claim_all(store)
        v.record(store, v.report("done", Event.SUCCEEDED), v.report("failed", Event.EXITED_NONZERO))
        candidates = [v.row(index, name) for index, name in enumerate(("done", "new"))]
        candidates += [v.row(3, "failed"), v.row(4, "done")]
        v.accept(store, v.batch("mixed", rows=[*candidates, v.rejected(2)]))
        return store

    def test_the_newest_attempts_of_many_jobs_are_found(self, mixed: Store) -> None:
        names = ("done", "failed", "new")
        found = mixed.find_attempts([v.sha(name) for name in (*names, "unknown")])
        assert {job_id: attempt.key.number for job_id, attempt in found.items()} == {
            v.sha("done"): 1,
            v.sha("failed"): 2,
            v.sha("new"): 1,
        }
        assert mixed.find_attempts([]) == {}

    def test_a_job_is_found_with_its_attempts(self, mixed: Store) -> None:
        done, again = mixed.find_job(v.sha("done")), mixed.find_job(v.sha("failed"))
        assert done is not None
        assert again is not None
        assert (done.spec, done.newest.ending) == (v.spec("done"), v.an_ending())
        assert done.attempts == [done.newest]
        assert [each.attempt.key.number for each in again.attempts] == [1, 2]
        assert [each.attempt.replaced for each in again.attempts] == [None, JobStatus.FAILED]
        assert again.attempts[0].ending == v.an_ending()
        assert again.attempts[1] == again.newest
        assert (again.newest.ending, again.newest.cancel_reason) == (None, None)
        assert (again.newest.engine_job_id, again.newest.node) == ("", "")
        assert mixed.find_job(v.sha("unknown")) is None

    def test_a_batch_is_known_or_not(self, mixed: Store) -> None:
        assert mixed.has_batch("mixed")
        assert not mixed.has_batch("other")
        assert list(mixed.find_rows("other", first_index=0, limit=9)) == []

    def test_rows_come_by_index_in_pages(self, mixed: Store) -> None:
        def page(first_index: int, limit: int) -> list[int]:
            rows = mixed.find_rows("mixed", first_index=first_index, limit=limit)
            return [row.index for row in rows]

        assert page(0, 99) == [0, 1, 2, 3, 4]
        assert page(0, 2) == [0, 1]
        assert page(2, 2) == [2, 3]
        assert page(4, 2) == [4]
        assert page(5, 2) == []

    def test_rows_are_as_they_were_accepted(self, mixed: Store) -> None:
        done, new, bad, again, _ = mixed.find_rows("mixed", first_index=0, limit=9)
        assert (done.outcome, done.head) == (Outcome.FOUND_COMPLETED, b"head 0")
        assert done.attempt == v.newest(mixed, "done")
        assert new.attempt == v.newest(mixed, "new")
        assert (bad.outcome, bad.attempt, bad.rejection) == (
            Outcome.REJECTED,
            None,
            b"no such method",
        )
        assert (again.outcome, again.old_status) == (Outcome.RESUBMITTED, JobStatus.FAILED)

    def test_rows_show_how_their_attempts_stand_now(self, mixed: Store) -> None:
        v.end(mixed, "new", Event.OVER_TIME)
        (row,) = mixed.find_rows("mixed", first_index=1, limit=1)
        assert row.outcome is Outcome.SUBMITTED
        assert row.attempt is not None
        assert (row.attempt.status, row.attempt.result) == (JobStatus.TIMEOUT, b"result: done")

    @pytest.mark.parametrize(
        ("statuses", "outcomes", "indexes"),
        [
            ([JobStatus.COMPLETED], [], [0, 4]),
            ([JobStatus.PENDING], [], [1, 3]),
            ([JobStatus.PENDING, JobStatus.COMPLETED], [], [0, 1, 3, 4]),
            ([JobStatus.FAILED], [], []),
            ([], [Outcome.REJECTED], [2]),
            ([], [Outcome.RESUBMITTED, Outcome.SUBMITTED], [1, 3]),
            ([JobStatus.PENDING], [Outcome.RESUBMITTED], [3]),
            (list(JobStatus), [], [0, 1, 3, 4]),
        ],
    )
    def test_filters_let_pass_what_they_name(
        self,
        mixed: Store,
        statuses: list[JobStatus],
        outcomes: list[Outcome],
        indexes: list[int],
    ) -> None:
        rows = mixed.find_rows(
            "mixed", first_index=0, limit=9, statuses=statuses, outcomes=outcomes
        )
        assert [row.index for row in rows] == indexes

    def test_a_page_is_full_of_rows_that_pass_the_filter(self, mixed: Store) -> None:
        rows = mixed.find_rows("mixed", first_index=1, limit=1, statuses=[JobStatus.COMPLETED])
        assert [row.index for row in rows] == [4]

    def test_active_attempts_are_those_claimed_and_not_ended_oldest_first(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "young", at=v.later(5)))
        v.accept(store, v.batch("a", "running", "ended", "old"))
        v.claim_all(store)
        v.accept(store, v.batch("c", "waiting", at=v.later(-5)))
        v.record(
            store, v.report("running", Event.STARTED, at=v.later(7)), v.report("ended", Event.LOST)
        )
        active = store.find_active()
        assert [(a.claim.spec, a.status, a.started_at) for a in active] == [
            (v.spec("running"), JobStatus.RUNNING, v.later(7)),
            (v.spec("old"), JobStatus.CONFIGURING, None),
            (v.spec("young"), JobStatus.CONFIGURING, None),
        ]
        assert [a.claim.revision for a in active] == [3, 2, 2]
