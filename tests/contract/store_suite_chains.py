"""What rows, look-ups and listings show of attempts that follow on each other by retries."""

from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import Kept, Policy
from dshpc_server.store.port import Store
from dshpc_server.store.sql.store import SqlStore
from support import store_servers
from support import store_values as v

AN_HOUR = 3600.0


class ShowingChains:
    def test_rows_show_the_retry_and_not_the_one_before(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job", "job"))
        v.claim_all(store)
        v.accept(store, v.batch("second", "job"))
        v.fail(store, "job")
        rows = [*v.rows_of(store, "first"), *v.rows_of(store, "second")]
        assert [row.attempt for row in rows] == [v.newest(store, "job")] * 3
        assert [row.outcome for row in rows] == [
            Outcome.SUBMITTED,
            Outcome.FOUND_IN_PROGRESS,
            Outcome.FOUND_IN_PROGRESS,
        ]
        v.end(store, "job", number=2)
        assert v.shown(store, "second") == (2, JobStatus.COMPLETED)

    def test_who_comes_later_waits_for_the_retry(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.fail(store, "job", retry=AN_HOUR)
        (row,) = v.accept(store, v.batch("second", "job"))
        assert (row.outcome, row.old_status) == (Outcome.FOUND_IN_PROGRESS, None)
        assert row.attempt == v.newest(store, "job")
        assert v.rows_of(store, "second") == [row]
        store_servers.pass_time(_sql(store), AN_HOUR)
        v.fail(store, "job", number=2)
        assert v.shown(store, "second") == (3, JobStatus.PENDING)

    def test_filters_by_status_see_the_retry_and_not_the_one_before(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job", "other"))
        v.fail(store, "job")
        v.fail(store, "other", retry=None)
        v.claim_all(store)
        by_status = {
            status: [row.index for row in v.rows_of(store, "b", status)]
            for status in (JobStatus.NODE_FAIL, JobStatus.CONFIGURING)
        }
        assert by_status == {JobStatus.NODE_FAIL: [1], JobStatus.CONFIGURING: [0]}
        listed = store.find_jobs(after=None, limit=9, statuses=[JobStatus.NODE_FAIL])
        assert [job.spec for job in listed] == [v.spec("other")]

    def test_look_ups_find_the_retry_once_it_has_completed(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.fail(store, "job")
        v.end(store, "job", number=2, ending=v.an_ending("of the retry"))
        (row,) = v.accept(store, v.batch("then", "job"))
        assert row.outcome is Outcome.FOUND_COMPLETED
        assert row.attempt is not None
        assert (row.attempt.key.number, row.attempt.result) == (2, b"result: of the retry")
        assert v.rows_of(store, "then") == [row]

    def test_a_refresh_that_is_retried_leaves_the_earlier_result_the_answer(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job")
        v.accept(store, v.batch("anew", "job", policy=v.REFRESH))
        v.fail(store, "job", number=2)
        assert _asked(store, "meanwhile") == (Outcome.FOUND_COMPLETED, 1)
        v.end(store, "job", number=3)
        assert _asked(store, "then") == (Outcome.FOUND_COMPLETED, 3)
        assert v.shown(store, "anew") == (3, JobStatus.COMPLETED)

    def test_one_for_somebody_alone_is_retried_for_that_one_alone(self, store: Store) -> None:
        v.accept(store, v.batch("alone", "job", policy=v.BYPASS))
        v.fail(store, "job")
        v.end(store, "job", number=2)
        assert _asked(store, "then") == (Outcome.SUBMITTED, 3)
        assert v.shown(store, "alone") == (2, JobStatus.COMPLETED)

    def test_a_retry_for_one_alone_that_another_waits_for_becomes_ordinary(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("alone", "job", policy=v.BYPASS))
        v.fail(store, "job")
        assert _asked(store, "joins") == (Outcome.FOUND_IN_PROGRESS, 2)
        v.fail(store, "job", number=2)
        v.end(store, "job", number=3)
        assert _asked(store, "then") == (Outcome.FOUND_COMPLETED, 3)

    def test_what_the_chain_replaced_stays_told(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job", Event.EXITED_NONZERO)
        v.accept(store, v.batch("second", "job"))
        _, after = v.fail(store, "job", number=2)
        assert after.replaced is JobStatus.FAILED
        (joins,) = v.accept(store, v.batch("third", "job"))
        assert (joins.outcome, joins.old_status) == (Outcome.FOUND_IN_PROGRESS, JobStatus.FAILED)
        (second,) = v.rows_of(store, "second")
        assert (second.outcome, second.old_status) == (Outcome.RESUBMITTED, JobStatus.FAILED)

    def test_a_chain_fails_once(self, store: Store) -> None:
        twice = Policy(max_attempts=2)
        v.accept(store, v.batch("first", "job"))
        for number in (1, 2, 3):
            v.fail(store, "job", number=number, retry=None if number == 3 else 0.0)
        assert _asked(store, "second", twice) == (Outcome.RESUBMITTED, 4)
        v.fail(store, "job", number=4)
        v.fail(store, "job", number=5, retry=None)
        (kept,) = v.accept(store, v.batch("third", "job", policy=twice))
        assert (kept.outcome, kept.kept) == (Outcome.FAILURE_KEPT, Kept.MAX_ATTEMPTS)
        assert kept.attempt == v.newest(store, "job")
        assert v.rows_of(store, "third") == [kept]


def _asked(store: Store, batch_id: str, policy: Policy = v.USUAL) -> tuple[Outcome, int]:
    (row,) = v.accept(store, v.batch(batch_id, "job", policy=policy))
    assert row.attempt is not None
    return row.outcome, row.attempt.key.number


def _sql(store: Store) -> SqlStore:
    assert isinstance(store, SqlStore)
    return store
