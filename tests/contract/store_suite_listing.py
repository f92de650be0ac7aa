"""How every store lists jobs."""

from collections.abc import Collection

import pytest

from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import JobRecord, ListPosition
from support import store_values as v


class ListingJobs:
    @pytest.fixture
    def listed(self, store: Store) -> Store:
        """The newest first: what the second batch has submitted, then `done`."""
        v.accept(store, v.batch("a", "again", "done"))
        v.end(store, "done")
        v.record(store, v.report("again", Event.LOST))
        rows = [v.row(0, "again"), v.row(1, "b1"), v.row(2, "b2", method_name="tally")]
        v.accept(store, v.batch("b", rows=rows, at=v.later(1)))
        return store

    def test_jobs_come_by_their_newest_attempts_the_newest_first(self, listed: Store) -> None:
        assert _ids(listed.find_jobs(after=None, limit=9)) == _named("again", "b1", "b2", "done")
        assert listed.find_jobs(after=None, limit=0) == []

    def test_pages_go_on_where_the_one_before_ended(self, listed: Store) -> None:
        after_b1 = ListPosition(at=v.later(1), name=v.sha("b1"))
        assert _ids(listed.find_jobs(after=after_b1, limit=1)) == _named("b2")
        after_b2 = ListPosition(at=v.later(1), name=v.sha("b2"))
        assert _ids(listed.find_jobs(after=after_b2, limit=9)) == _named("done")
        after_done = ListPosition(at=v.NOON, name=v.sha("done"))
        assert listed.find_jobs(after=after_done, limit=9) == []

    def test_jobs_of_one_moment_come_by_name(self, store: Store) -> None:
        names = [f"job {number}" for number in range(5)]
        for name in names:
            v.accept(store, v.batch(name, name))
        expected = sorted(_named(*names), reverse=True)
        assert _ids(store.find_jobs(after=None, limit=9)) == expected
        after = ListPosition(at=v.NOON, name=expected[1])
        assert _ids(store.find_jobs(after=after, limit=2)) == expected[2:4]

    @pytest.mark.parametrize(
        ("statuses", "method_name", "names"),
        [
            ([JobStatus.COMPLETED], "", ["done"]),
            ([JobStatus.NODE_FAIL], "", []),
            ([JobStatus.PENDING], "count", ["again", "b1"]),
            ([], "tally", ["b2"]),
            ([], "none", []),
        ],
    )
    def test_jobs_that_filters_name_are_let_pass(
        self, listed: Store, statuses: Collection[JobStatus], method_name: str, names: list[str]
    ) -> None:
        found = listed.find_jobs(after=None, limit=9, statuses=statuses, method_name=method_name)
        assert _ids(found) == _named(*names)

    def test_a_job_is_listed_as_it_is_found_but_for_its_attempts(self, listed: Store) -> None:
        (record,) = listed.find_jobs(after=None, limit=9, statuses=[JobStatus.COMPLETED])
        found = listed.find_job(v.sha("done"))
        assert found is not None
        assert (record.spec, record.newest) == (found.spec, found.newest)
        assert record.attempts == ()


def _ids(records: Collection[JobRecord]) -> list[str]:
    return [record.newest.attempt.key.job_id for record in records]


def _named(*names: str) -> list[str]:
    return [v.sha(name) for name in names]
