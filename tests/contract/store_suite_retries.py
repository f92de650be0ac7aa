"""What every store does when attempts are retried by themselves: chains, and who shows them."""

import dataclasses

import pytest

from contract.store_suite_opening import OpenServer
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import Claim, Claims
from dshpc_server.store.sql.store import SqlStore
from support import store_servers
from support import store_values as v

AN_HOUR = 3600.0
A_DAY = 86_400.0


class Retrying:
    def test_the_next_attempt_of_the_chain_is_made_with_the_end_of_the_one_before(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        before, after = v.fail(store, "job")
        assert (before.status, before.is_retried) == (JobStatus.NODE_FAIL, True)
        assert (after.key.number, after.chain, after.retries) == (2, 1, 1)
        assert (after.status, after.is_retried) == (JobStatus.PENDING, False)
        assert after.revision == before.revision + 1
        assert (after.replaced, after.started_at, after.ended_at) == (None, None, None)
        assert (after.function_hash, after.result) == (before.function_hash, None)
        assert v.newest(store, "job") == after
        assert store.find_all_attempts([v.sha("job")]) == [before, after]

    def test_it_goes_on_as_long_as_the_caller_says(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        for number in range(1, 13):
            _, after = v.fail(store, "job", Event.NOT_STARTED, number=number)
            assert (after.key.number, after.chain, after.retries) == (number + 1, 1, number)
        (last,) = v.fail(store, "job", number=13, retry=None)
        assert (last.is_retried, last.chain) == (False, 1)
        assert v.claim_all(store) == []

    def test_everybody_is_told_of_both(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        lost = dataclasses.replace(v.report("job", Event.LOST), retry_after_seconds=0.0)
        commit = store.write([lambda writer: writer.record([lost])])
        assert list(commit.changes) == list(store.find_all_attempts([v.sha("job")]))

    def test_it_is_claimed_like_any_other_and_completes_the_chain(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.row(0, "job", cpus=3)]))
        _, after = v.fail(store, "job")
        claim = _claim_one(store)
        assert (claim.key, claim.chain, claim.retries) == (after.key, 1, 1)
        assert (claim.resources.cpus, claim.resources.memory_bytes) == (3, 1024)
        assert (claim.timeout_seconds, claim.spec) == (60.5, v.spec("job"))
        (done,) = v.record(store, v.report("job", Event.SUCCEEDED, number=2))
        assert (done.status, done.chain, done.is_retried) == (JobStatus.COMPLETED, 1, False)

    def test_a_later_request_begins_a_chain_of_its_own(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.fail(store, "job")
        v.fail(store, "job", number=2, retry=None)
        (row,) = v.accept(store, v.batch("second", "job"))
        assert (row.outcome, row.old_status) == (Outcome.RESUBMITTED, JobStatus.NODE_FAIL)
        assert row.attempt is not None
        assert (row.attempt.key.number, row.attempt.chain) == (3, 3)
        v.fail(store, "job", number=3)
        assert v.shown(store, "first") == (2, JobStatus.NODE_FAIL)
        assert v.shown(store, "second") == (4, JobStatus.PENDING)

    def test_one_that_is_to_be_stopped_is_not_retried(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        v.cancel(store, "job")
        (ended,) = v.fail(store, "job")
        assert (ended.status, ended.is_retried) == (JobStatus.NODE_FAIL, False)
        assert v.newest(store, "job") == ended
        assert v.claim_all(store) == []

    def test_one_that_waits_can_be_cancelled(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.fail(store, "job", retry=AN_HOUR)
        (cancelled,) = v.cancel(store, "job")
        assert (cancelled.key.number, cancelled.status) == (2, JobStatus.CANCELLED)
        assert v.shown(store, "b") == (2, JobStatus.CANCELLED)
        assert _claims(store).next_due_seconds is None

    def test_late_reports_about_the_one_before_and_early_ones_are_dropped(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        lost = dataclasses.replace(v.report("job", Event.LOST), retry_after_seconds=0.0)
        late = [v.report("job", Event.SUCCEEDED), lost]
        early = v.report("job", Event.STARTED, number=2)
        assert len(v.record(store, lost, *late, early)) == 2
        assert v.record(store, *late, early) == []
        assert len(store.find_all_attempts([v.sha("job")])) == 2

    @pytest.mark.parametrize("event", [Event.STARTED, Event.SUCCEEDED, Event.CANCELLED])
    def test_only_a_failure_can_be_retried(self, store: Store, event: Event) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        with pytest.raises(ValueError, match="nothing to retry"):
            v.fail(store, "job", event)
        assert v.status(store, "job") is JobStatus.CONFIGURING

    def test_thousands_are_retried_in_one_call(self, store: Store) -> None:
        names = range(1200)
        v.accept(store, v.batch("b", *names))
        v.claim_all(store)
        v.claim_all(store)
        lost = [
            dataclasses.replace(v.report(name, Event.LOST), retry_after_seconds=0.0)
            for name in names
        ]
        assert len(v.record(store, *lost)) == 2400
        rows = store.find_rows("b", first_index=0, limit=9999)
        assert [row.attempt and row.attempt.key.number for row in rows] == [2] * 1200

    def test_any_server_claims_it(self, open_server: OpenServer) -> None:
        first, second = open_server(), open_server()
        v.accept(first, v.batch("b", "job"))
        v.fail(first, "job")
        v.claim_all(second)
        assert v.record(first, v.report("job", Event.STARTED, number=2)) == []
        assert v.record(second, v.report("job", Event.STARTED, number=2))


class WaitingForRetries:
    def test_it_is_not_claimed_before_it_is_due(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job", "other"))
        v.fail(store, "job", retry=AN_HOUR)
        v.fail(store, "other", retry=2 * AN_HOUR)
        claims = _claims(store)
        assert claims.taken == []
        assert claims.next_due_seconds is not None
        assert AN_HOUR / 2 < claims.next_due_seconds <= AN_HOUR

    def test_nothing_is_due_where_no_retry_waits(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job", "other"))
        assert _claims(store).next_due_seconds is None
        v.fail(store, "job", retry=0.0)
        assert _claims(store).next_due_seconds is None
        v.fail(store, "other", retry=AN_HOUR)
        assert _claims(store).next_due_seconds is not None

    def test_it_keeps_its_place_in_the_queue(self, store: Store) -> None:
        v.accept(store, v.batch("early", "x", "y"))
        v.claim_all(store)
        v.accept(store, v.batch("late", "z", at=v.later(1)))
        lost = [
            dataclasses.replace(v.report(name, Event.LOST), retry_after_seconds=0.0)
            for name in ("y", "x")
        ]
        v.record(store, *lost)
        assert [key.job_id for key in v.claim_all(store)] == [v.sha(n) for n in ("x", "y", "z")]

    def test_one_that_is_not_due_holds_up_nobody(self, store: Store) -> None:
        v.accept(store, v.batch("early", *(f"job {n}" for n in range(300))))
        v.claim_all(store)
        lost = [
            dataclasses.replace(v.report(f"job {n}", Event.LOST), retry_after_seconds=AN_HOUR)
            for n in range(300)
        ]
        v.record(store, *lost)
        v.accept(store, v.batch("late", "due", at=v.later(1)))
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("due")]

    @pytest.mark.parametrize("seconds", [60.0, A_DAY])
    def test_a_clock_that_was_set_back_does_not_hold_it_up(
        self, store: Store, seconds: float
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        v.fail(store, "job", retry=30.0)
        assert v.claim_all(store) == []
        store_servers.pass_time(_sql(store), -seconds)
        assert [key.number for key in v.claim_all(store)] == [2]

    def test_when_each_is_due_is_told_with_the_job(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.fail(store, "job", retry=0.0)
        v.fail(store, "job", number=2, retry=AN_HOUR)
        record = store.find_job(v.sha("job"))
        assert record is not None
        first, second, third = record.attempts
        assert record.newest == third
        assert first.due_at is None
        assert second.due_at == second.attempt.created_at
        assert third.due_at is not None
        delay = third.due_at - third.attempt.created_at
        assert delay.total_seconds() == AN_HOUR
        endings = [each.ending and each.ending.result for each in record.attempts]
        assert endings == [b"result: done", b"result: done", None]


def _claims(store: Store) -> Claims:
    return v.write(store, lambda writer: writer.claim(v.take, 1000))


def _claim_one(store: Store) -> Claim:
    (claim,) = _claims(store).taken
    return claim


def _sql(store: Store) -> SqlStore:
    assert isinstance(store, SqlStore)
    return store
