"""What every store tells of batches whose jobs fail: their limits, and what can be retried."""

import dataclasses

from dshpc_server.domain.job import Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import NewRow, RetriedJob
from support import store_values as v


def _keep_tally(store: Store, batch_id: str) -> None:
    v.write(store, lambda writer: writer.keep_tally(batch_id, v.tally(store, batch_id)))


def _with_config(row: NewRow) -> NewRow:
    return dataclasses.replace(row, config=b"config %d" % row.index)


class Limiting:
    def test_a_batch_without_a_limit_has_none(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        assert store.find_failure_limits(None) == {}
        assert store.find_failure_limits([v.sha("job")], batch_ids=["b"]) == {}

    def test_a_limit_is_found_by_the_jobs_its_batch_waits_for_or_has_waited_for(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("first", "x", "y", max_failures=2))
        v.accept(store, v.batch("second", "y", max_failures=1))
        v.accept(store, v.batch("third", "z", max_failures=3))
        v.end(store, "x", Event.EXITED_NONZERO)
        assert store.find_failure_limits([v.sha("x")]) == {"first": 2}
        assert store.find_failure_limits([v.sha("y")]) == {"first": 2, "second": 1}
        assert store.find_failure_limits([v.sha("x")], batch_ids=["third", "nobody"]) == {
            "first": 2,
            "third": 3,
        }
        assert store.find_failure_limits([]) == {}
        assert store.find_failure_limits(None) == {"first": 2, "second": 1, "third": 3}

    def test_what_was_cancelled_or_seen_to_have_ended_has_no_limit_any_more(
        self, store: Store
    ) -> None:
        for batch_id in ("cancelled", "ended", "some"):
            v.accept(store, v.batch(batch_id, batch_id, f"{batch_id} too", max_failures=1))
        v.withdraw(store, "cancelled")
        v.withdraw(store, "some", 0)
        v.withdraw(store, "ended", 0, 1)
        _keep_tally(store, "ended")
        jobs = [v.sha(name) for name in ("cancelled", "ended", "some too")]
        assert store.find_failure_limits(None) == {"some": 1}
        assert store.find_failure_limits(jobs) == {"some": 1}
        assert store.find_failure_limits([], batch_ids=["cancelled", "ended"]) == {}


class Retriable:
    def test_what_ended_and_is_not_completed_can_be_retried(self, store: Store) -> None:
        v.accept(store, v.batch("other", "shared"))
        v.accept(store, v.batch("b", "done", "failed", "cancelled", "waits", "shared"))
        v.end(store, "done")
        v.record(store, v.report("failed", Event.EXITED_NONZERO))
        v.record(store, v.report("cancelled", Event.CANCELLED))
        v.withdraw(store, "b", 4)
        rows = store.find_retriable_rows("b")
        assert [row.head for row in rows] == [b"head 1", b"head 2", b"head 4"]
        assert [row.job for row in rows] == [
            RetriedJob(
                spec=v.spec(name),
                resources=Resources(cpus=1, memory_bytes=1024),
                timeout_seconds=60.5,
            )
            for name in ("failed", "cancelled", "shared")
        ]
        assert [(row.config, row.priority) for row in rows] == [(None, None)] * 3
        assert store.find_retriable_rows("nobody") == []

    def test_of_what_names_no_job_its_config_is_kept(self, store: Store) -> None:
        refused = dataclasses.replace(v.row(2, "lacks a file"), rejection=b"no such file")
        rows = [
            _with_config(v.rejected(0)),
            _with_config(v.row(1, "unknown", policy=v.ONLY)),
            _with_config(refused),
            _with_config(v.row(3, "runs")),
        ]
        v.accept(store, v.batch("b", rows=rows))
        found = store.find_retriable_rows("b")
        assert [(row.job, row.config) for row in found] == [
            (None, b"config 0"),
            (None, b"config 1"),
            (None, b"config 2"),
        ]

    def test_what_names_no_job_and_has_no_config_cannot_be(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.rejected(0), _with_config(v.rejected(1))]))
        assert [row.head for row in store.find_retriable_rows("b")] == [b"head 1"]
