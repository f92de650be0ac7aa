"""What every store tells of batches whose jobs fail: their limits, and what can be retried."""

import dataclasses

from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import NewRow, RetriedJob
from support import store_values as v
from support import store_waiting as w


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
        assert [(row.index, row.has_ended) for row in rows] == [(1, True), (2, True), (4, True)]
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

    def test_of_what_waits_or_waited_its_config_is_kept_and_what_it_comes_after(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("before", "job"))
        after = [w.on_row(0, input_name="left"), w.on_job("job", 1, Condition.FINISHED)]
        rows = [
            v.row(0, "first"),
            _with_config(w.waiting(1, *after)),
            _with_config(w.waiting(2, w.on_row(1))),
            _with_config(w.waiting(3, w.on_job("job"))),
            v.row(4, "other"),
            _with_config(w.waiting(5, w.on_row(4, Condition.FAILED))),
        ]
        v.accept(store, v.batch("b", rows=rows))
        assert [row.index for row in store.find_retriable_rows("b")] == [1, 2, 3, 5]
        v.end(store, "first", Event.EXITED_NONZERO)
        w.settle_jobs(store, "first")
        v.withdraw(store, "b", 3)
        found = store.find_retriable_rows("b")
        assert [(row.index, row.has_ended) for row in found] == [
            (0, True),
            (1, True),
            (2, True),
            (3, True),
            (5, False),
        ]
        assert [row.config for row in found] == [
            None,
            *(b"config %d" % index for index in (1, 2, 3, 5)),
        ]
        assert [list(row.dependencies) for row in found] == [
            [],
            after,
            [w.on_row(1)],
            [w.on_job("job")],
            [w.on_row(4, Condition.FAILED)],
        ]

    def test_what_was_released_asks_for_its_job_if_it_has_one(self, store: Store) -> None:
        rows = [v.row(0, "first"), *(_with_config(w.waiting(n, w.on_row(0))) for n in (1, 2))]
        v.accept(store, v.batch("b", rows=rows))
        v.end(store, "first")
        one, _ = w.settle_jobs(store, "first").ready
        lacks = dataclasses.replace(v.rejected(2), head=b"head 2")
        w.release(store, "b", w.found_ready(one, "new"), lacks)
        v.end(store, "new", Event.EXITED_NONZERO)
        found = store.find_retriable_rows("b")
        assert [row.job and row.job.spec for row in found] == [v.spec("new"), None]
        assert [row.config for row in found] == [None, b"config 2"]
        assert [list(row.dependencies) for row in found] == [[], [w.on_row(0)]]

    def test_what_is_rejected_at_once_keeps_what_it_comes_after_and_waits_for_nothing(
        self, store: Store
    ) -> None:
        comes_after = (w.on_row(0), w.on_row(2))
        rejected = dataclasses.replace(_with_config(v.rejected(1)), dependencies=comes_after)
        v.accept(store, v.batch("b", rows=[v.row(0, "a"), rejected, v.row(2, "b")]))
        assert not store.has_undecided()
        (found,) = store.find_retriable_rows("b")
        assert (found.config, tuple(found.dependencies)) == (b"config 1", comes_after)

    def test_the_chains_that_completed_are_told(self, store: Store) -> None:
        v.accept(store, v.batch("b", "retried", "failed", "runs"))
        v.fail(store, "retried")
        v.end(store, "retried", number=2)
        v.end(store, "failed", Event.EXITED_NONZERO)
        v.accept(store, v.batch("again", "failed"))
        v.end(store, "failed", number=2)
        asked = [
            AttemptKey(job_id=v.sha(name), number=number)
            for name, number in [
                ("retried", 1),
                ("failed", 1),
                ("failed", 2),
                ("runs", 1),
                ("x", 1),
            ]
        ]
        assert store.find_completed(asked) == {asked[0], asked[2]}
        assert store.find_completed(asked[:2]) == {asked[0]}
        assert store.find_completed([]) == set()
