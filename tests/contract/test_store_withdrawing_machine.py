"""Batches that come, fail, withdraw and are retried at random: what holds after every step.

In every snapshot both sums of the statistics hold, and what the store counts are its rows. What has
ended never changes again. Nothing is left in the queue or running that nobody waits for, and
nothing is taken from anybody who did not withdraw. `make properties` goes through a thousand
histories, others each time.
"""

import dataclasses
import os
import pathlib
from collections.abc import Collection
from contextlib import closing

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from dshpc_server.domain import job, statistics
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.lookup import CachePolicy, Policy
from dshpc_server.store.records import BatchTally, NewRow, Row, Withdrawn
from dshpc_server.store.sql.store import SqlStore
from support import batches_store, store_servers
from support import store_values as v

NAMES = "xyz"
BATCHES = 4
_EXAMPLES = int(os.environ.get("DSHPC_TEST_EXAMPLES", "0"))
SETTINGS = hypothesis.settings(
    max_examples=_EXAMPLES or 40,
    stateful_step_count=20,
    database=None,
    derandomize=not _EXAMPLES,
    report_multiple_bugs=False,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
WAITING = (Outcome.SUBMITTED, Outcome.RESUBMITTED, Outcome.FOUND_IN_PROGRESS)
_names = st.sampled_from(NAMES)
_asked = st.lists(
    st.tuples(_names, st.sampled_from((CachePolicy.USE, *CachePolicy))), min_size=1, max_size=4
)
_batches = st.integers(0, BATCHES - 1)
_events = st.sampled_from((Event.SUCCEEDED, Event.EXITED_NONZERO, Event.LOST, Event.CANCELLED))


class WithdrawingMachine(stateful.RuleBasedStateMachine):
    """A few batches over three jobs."""

    def __init__(self, store: SqlStore) -> None:
        super().__init__()
        store_servers.empty(store)
        self._store = store
        self._accepted = 0
        self._ended: dict[tuple[str, int], Row] = {}

    @stateful.initialize(asked=st.tuples(_asked, _asked))
    def accept_two(self, asked: tuple[list[tuple[str, CachePolicy]], ...]) -> None:
        for each in asked:
            self.accept(asked=each)

    @stateful.rule(asked=_asked)
    def accept(self, asked: list[tuple[str, CachePolicy]]) -> None:
        self._accept([v.row(n, name, policy=Policy(cache=c)) for n, (name, c) in enumerate(asked)])

    @stateful.rule(batch=_batches)
    def retry(self, batch: int) -> None:
        rows = self._store.find_retriable_rows(self._batch(batch))
        names = [name for row in rows if row.job for name in NAMES if row.job.spec == v.spec(name)]
        assert len(names) == sum(row.job is not None for row in rows)
        if names:
            self._accept([v.row(n, name) for n, name in enumerate(names)])

    @stateful.rule()
    def claim(self) -> None:
        v.claim_all(self._store)

    @stateful.rule(name=_names, event=_events, retries=st.booleans())
    def end(self, name: str, event: Event, *, retries: bool) -> None:
        newest = self._store.find_attempts([v.sha(name)]).get(v.sha(name))
        if newest is None or newest.status is JobStatus.PENDING:
            return
        number = newest.key.number
        if retries and event is Event.LOST:
            v.fail(self._store, name, number=number)
        else:
            v.record(self._store, v.report(name, event, number=number))

    @stateful.rule(batch=_batches)
    def withdraw_all(self, batch: int) -> None:
        self._withdraw_all(self._batch(batch))

    def _withdraw_all(self, batch: str) -> None:
        before, others = self._rows(batch), self._others(batch, range(9))
        done = v.withdraw(self._store, batch)
        assert self._others(batch, range(9)) == others
        again = v.withdraw(self._store, batch, reason="again")
        self._check_withdrawn(batch, before, done, set(range(len(before))))
        assert again is None or (again.cancel_requested, again.detached) == (0, 0)

    @stateful.rule(batch=_batches, indexes=st.sets(st.integers(0, 4), min_size=1))
    def withdraw_some(self, batch: int, indexes: set[int]) -> None:
        self._withdraw_some(self._batch(batch), indexes)

    def _withdraw_some(self, batch: str, indexes: set[int]) -> None:
        before, others = self._rows(batch), self._others(batch, indexes)
        done = v.withdraw(self._store, batch, *indexes)
        assert self._others(batch, indexes) == others
        self._check_withdrawn(batch, before, done, indexes.intersection(range(len(before))))

    @stateful.invariant()
    def statistics_are_those_of_the_rows(self) -> None:
        for batch in self._all():
            rows = self._rows(batch)
            told = _counted(v.tally(self._store, batch))
            counted = statistics.Tally()
            counted.add_many((row.outcome, row.status) for row in rows)
            assert told == counted.snapshot()
            assert told.total_jobs == len(rows)
            _check(told)

    @stateful.invariant()
    def what_has_ended_stays_as_it_is(self) -> None:
        for batch in self._all():
            for row in self._rows(batch):
                if row.status is None or row.status in job.TERMINAL:
                    assert self._ended.setdefault((batch, row.index), row) == row

    @stateful.invariant()
    def what_is_in_progress_is_waited_for_or_to_be_stopped(self) -> None:
        waited_for = {
            row.attempt.key
            for batch in self._all()
            for row in self._rows(batch)
            if row.attempt is not None and row.ended_as is None and row.outcome in WAITING
        }
        for name in NAMES:
            record = self._store.find_job(v.sha(name))
            if record is None or record.newest.attempt.status in job.TERMINAL:
                continue
            assert record.newest.attempt.key in waited_for
            if record.newest.attempt.status is JobStatus.PENDING:
                assert record.newest.cancel_reason is None

    def _accept(self, rows: list[NewRow]) -> None:
        if self._accepted < BATCHES:
            self._accepted += 1
            at = v.later(self._accepted)
            v.accept(self._store, v.batch(str(self._accepted), rows=rows, at=at))

    def _check_withdrawn(
        self, batch: str, before: list[Row], done: Withdrawn | None, indexes: set[int]
    ) -> None:
        assert done is not None
        assert done.cancel_requested + done.detached + done.already_terminal == len(indexes)
        after = self._rows(batch)
        for then, now in zip(before, after, strict=True):
            if then.index not in indexes:
                assert now.ended_as == then.ended_as
        detached = [n for t, n in zip(before, after, strict=True) if t.ended_as != n.ended_as]
        assert len(detached) == done.detached

    def _others(self, batch: str, indexes: Collection[int]) -> list[tuple[str, Row, str | None]]:
        """Every row but these, and whether its run is to be stopped."""
        found = []
        for each in self._all():
            for row in self._rows(each):
                if each == batch and row.index in indexes:
                    continue
                reason = None
                if row.attempt is not None and row.ended_as is None:
                    record = self._store.find_job(row.attempt.key.job_id)
                    assert record is not None
                    reason = record.attempts[row.attempt.key.number - 1].cancel_reason
                found.append((each, row, reason))
        return found

    def _batch(self, number: int) -> str:
        """One of those that there are."""
        return str(1 + number % self._accepted)

    def _all(self) -> list[str]:
        return [str(number) for number in range(1, self._accepted + 1)]

    def _rows(self, batch: str) -> list[Row]:
        """The rows of a batch, as they are told: of what was detached the run shows no more."""
        rows = v.rows_of(self._store, batch)
        return [row if row.ended_as is None else _without_run(row) for row in rows]


def _without_run(row: Row) -> Row:
    return dataclasses.replace(row, attempt=None)


def _counted(tally: BatchTally) -> statistics.Statistics:
    counted = statistics.Tally()
    for (outcome, status), rows in tally.rows.items():
        counted.add(outcome, status, rows)
    return counted.snapshot()


def _check(told: statistics.Statistics) -> None:
    assert told.total_jobs == (
        told.completed_jobs
        + told.in_progress_jobs
        + told.failed_jobs
        + told.cancelled_jobs
        + told.skipped_jobs
        + told.not_found_jobs
        + told.failed_submissions
    )
    assert told.total_jobs == (
        told.found_completed_jobs
        + told.found_in_progress_jobs
        + told.submitted_jobs
        + told.resubmitted_jobs
        + told.kept_failures
        + told.not_found_jobs
        + told.withheld_jobs
        + told.undecided_jobs
        + told.failed_submissions
    )


@pytest.mark.timeout(120 + _EXAMPLES)
def test_whatever_batches_do_every_row_counts_once_and_nothing_runs_for_nobody(
    tmp_path: pathlib.Path,
) -> None:
    with closing(batches_store.opened(tmp_path / "store.db")) as store:

        class Machine(WithdrawingMachine):
            def __init__(self) -> None:
                super().__init__(store)

        stateful.run_state_machine_as_test(Machine, settings=SETTINGS)
