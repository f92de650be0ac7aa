"""The identities of the statistics hold in every snapshot of every history."""

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc.v1 import types_pb2
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import TRANSITIONS
from dshpc_server.domain.statistics import Row, Statistics, Tally

WITHOUT_JOB = (Outcome.REJECTED, Outcome.NOT_FOUND)
RESTRICTED = (*WITHOUT_JOB, Outcome.PENDING, Outcome.WITHHELD)
FREE = sorted(set(Outcome) - set(RESTRICTED))

UNDECIDED = (Outcome.PENDING, JobStatus.BLOCKED)
coins = st.booleans()
rows = st.one_of(
    st.tuples(st.sampled_from(FREE), st.sampled_from(JobStatus)),
    st.tuples(st.sampled_from(WITHOUT_JOB), st.none()),
    st.tuples(st.just(Outcome.PENDING), st.just(JobStatus.BLOCKED)),
    st.tuples(st.just(Outcome.WITHHELD), st.sampled_from([JobStatus.CANCELLED, JobStatus.SKIPPED])),
)


def assert_identities_hold(s: Statistics, total_jobs: int) -> None:
    assert s.total_jobs == total_jobs
    by_status = s.completed_jobs + s.in_progress_jobs + s.failed_jobs + s.cancelled_jobs
    by_status += s.skipped_jobs + s.not_found_jobs + s.failed_submissions
    by_outcome = s.found_completed_jobs + s.found_in_progress_jobs + s.submitted_jobs
    by_outcome += s.resubmitted_jobs + s.kept_failures + s.not_found_jobs + s.withheld_jobs
    by_outcome += s.undecided_jobs + s.failed_submissions
    assert by_status == total_jobs
    assert by_outcome == total_jobs
    assert s.successful_submissions == s.submitted_jobs + s.resubmitted_jobs
    assert s.final == (s.in_progress_jobs == 0)


def counted_plainly(history: list[Row]) -> dict[str, int]:
    """What a reader would count by hand, for the fields that speak of statuses."""
    return {
        "completed_jobs": sum(status is JobStatus.COMPLETED for _, status in history),
        "in_progress_jobs": sum(status in job.IN_PROGRESS for _, status in history),
        "failed_jobs": sum(status in job.FAILED for _, status in history),
        "cancelled_jobs": sum(status is JobStatus.CANCELLED for _, status in history),
        "skipped_jobs": sum(status is JobStatus.SKIPPED for _, status in history),
    }


@hypothesis.given(st.data())
def test_the_identities_hold_in_every_snapshot_of_a_random_history(data: st.DataObject) -> None:
    tally, history = Tally(), list[Row]()
    for _ in range(data.draw(st.integers(0, 25))):
        moves = [
            (position, transition)
            for position, (outcome, status) in enumerate(history)
            for transition in TRANSITIONS
            if transition.source is status and outcome is not Outcome.PENDING
        ]
        if data.draw(coins) and moves:
            position, transition = data.draw(st.sampled_from(moves))
            before = history[position]
            history[position] = (before[0], transition.target)
            tally.move(before, history[position])
        elif data.draw(coins) and UNDECIDED in history:
            position = history.index(UNDECIDED)
            history[position] = data.draw(rows)
            tally.move(UNDECIDED, history[position])
        else:
            history.append(data.draw(rows))
            tally.add(*history[-1])
        snapshot = tally.snapshot()
        assert_identities_hold(snapshot, len(history))
        assert counted_plainly(history).items() <= dataclasses.asdict(snapshot).items()


@hypothesis.given(st.lists(rows), st.lists(rows))
def test_many_rows_at_once_count_as_one_by_one_in_any_order(
    first: list[Row], second: list[Row]
) -> None:
    one_by_one, at_once = Tally(), Tally()
    for row in reversed(first + second):
        one_by_one.add(*row)
    at_once.add_many(first)
    at_once.add_many(second)
    assert at_once.snapshot() == one_by_one.snapshot()


def test_the_example_of_eight_rows() -> None:
    tally = Tally()
    tally.add_many(
        [
            (Outcome.FOUND_COMPLETED, JobStatus.COMPLETED),
            (Outcome.FOUND_IN_PROGRESS, JobStatus.RUNNING),
            (Outcome.RESUBMITTED, JobStatus.PENDING),
            (Outcome.SUBMITTED, JobStatus.PENDING),
            (Outcome.REJECTED, None),
            (Outcome.REJECTED, None),
            (Outcome.FOUND_IN_PROGRESS, JobStatus.PENDING),
            (Outcome.FOUND_COMPLETED, JobStatus.COMPLETED),
        ]
    )
    snapshot = tally.snapshot()
    assert_identities_hold(snapshot, 8)
    expected = {
        "total_jobs": 8,
        "completed_jobs": 2,
        "in_progress_jobs": 4,
        "failed_submissions": 2,
        "successful_submissions": 2,
        "resubmitted_jobs": 1,
        "submitted_jobs": 1,
        "found_in_progress_jobs": 2,
        "found_completed_jobs": 2,
    }
    found = dataclasses.asdict(snapshot)
    assert {name: count for name, count in found.items() if count} == expected
    # A first answer without kept failures: what is not rejected is completed or in progress.
    assert found["total_jobs"] == 2 + 4 + 2


@pytest.mark.parametrize("status", sorted(JobStatus))
def test_every_status_counts_in_exactly_one_group_and_in_progress_is_not_final(
    status: JobStatus,
) -> None:
    tally = Tally()
    tally.add(Outcome.SUBMITTED, status)
    snapshot = tally.snapshot()
    assert_identities_hold(snapshot, 1)
    assert snapshot.final == (status in job.TERMINAL)


def test_a_tally_of_nothing_is_final() -> None:
    snapshot = Tally().snapshot()
    assert_identities_hold(snapshot, 0)
    assert snapshot.final


def test_a_row_that_waits_for_its_decision_keeps_the_batch_going() -> None:
    tally = Tally()
    tally.add(Outcome.PENDING, JobStatus.BLOCKED)
    snapshot = tally.snapshot()
    assert (snapshot.undecided_jobs, snapshot.in_progress_jobs) == (1, 1)
    assert not snapshot.final


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        *((outcome, JobStatus.COMPLETED) for outcome in RESTRICTED),
        *((outcome, None) for outcome in Outcome if outcome not in WITHOUT_JOB),
        (Outcome.WITHHELD, JobStatus.PENDING),
        (Outcome.PENDING, JobStatus.PENDING),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_not_counted(
    outcome: Outcome, status: JobStatus | None
) -> None:
    tally = Tally()
    with pytest.raises(ValueError, match=f"a row that is {outcome} cannot be"):
        tally.add(outcome, status)
    assert tally.snapshot() == Tally().snapshot()


def test_a_move_from_a_status_that_no_row_has_is_refused_and_changes_nothing() -> None:
    tally = Tally()
    tally.add(Outcome.SUBMITTED, JobStatus.PENDING)
    before = tally.snapshot()
    with pytest.raises(ValueError, match="no row is SUBMITTED and RUNNING"):
        tally.move((Outcome.SUBMITTED, JobStatus.RUNNING), (Outcome.SUBMITTED, JobStatus.COMPLETED))
    assert tally.snapshot() == before


def test_the_fields_are_those_of_the_contract() -> None:
    contract = [field.name for field in types_pb2.JobStatistics.DESCRIPTOR.fields]
    assert [field.name for field in dataclasses.fields(Statistics)] == contract[:-1]
    assert contract[-1] == "as_of"
