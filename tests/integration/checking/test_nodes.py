"""A node that is gone: what its servers had is ended as lost, and queued again by policy."""

import contextlib
from collections.abc import Sequence

from dshpc_server.checking import nodes
from dshpc_server.domain import retry
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import records
from support import checked_site
from support import store_values as v
from support.checked_site import Site


def end_all(made: Site, max_retries: int = 3) -> Sequence[records.Attempt]:
    policy = nodes.Policy(
        retries=retry.Retries(max_retries=max_retries), clock=made.clock, chance=lambda: 1.0
    )
    with contextlib.closing(made.open()) as store:
        ended = nodes.end_attempts(
            store, "somewhere", (), encoder=checked_site.ENCODER, policy=policy
        )
        store.leave()
    return ended


def test_what_ran_there_is_lost_and_waits_for_its_retry(made: Site) -> None:
    lost, again = end_all(made)
    job_id = made.job_id("running")
    assert (lost.key.job_id, lost.key.number, lost.status) == (job_id, 1, JobStatus.NODE_FAIL)
    assert lost.is_retried
    assert (again.key.number, again.status, again.chain) == (2, JobStatus.PENDING, 1)
    with contextlib.closing(made.open(read_only=True)) as store:
        record = store.find_job(job_id)
        assert record is not None
        ending = record.attempts[0].ending
        assert ending is not None
        assert ending.reason == "its node somewhere is gone"
        assert made.clock.now() == record.attempts[0].attempt.ended_at
    assert made.broken() == set()


def test_what_may_not_be_retried_stays_lost(made: Site) -> None:
    (lost,) = end_all(made, max_retries=0)
    assert (lost.status, lost.is_retried) == (JobStatus.NODE_FAIL, False)
    assert made.broken() == set()


def test_what_was_to_be_stopped_is_cancelled(made: Site) -> None:
    job_id = made.job_id("running")
    with contextlib.closing(made.open()) as store:
        v.write(store, lambda writer: writer.take_over(()))
        v.write(store, lambda writer: writer.cancel([job_id], "not needed", lambda _: 1 / 0))  # type: ignore[arg-type, return-value] # nothing waits, so it is not called
    (ended,) = end_all(made)
    assert (ended.status, ended.is_retried) == (JobStatus.CANCELLED, False)
    assert made.broken() == set()


def test_where_nothing_is_left_nothing_is_done(made: Site) -> None:
    end_all(made)
    assert end_all(made) == []
