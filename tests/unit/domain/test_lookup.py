"""The look-up decision for every status that an earlier attempt can have."""

import pytest

from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import JobStatus, Outcome


def test_a_job_that_is_unknown_is_submitted() -> None:
    decision = lookup.decide(None)
    assert decision == lookup.Decision(outcome=Outcome.SUBMITTED, old_status=None)
    assert decision.submits


def test_a_completed_job_is_the_answer() -> None:
    decision = lookup.decide(JobStatus.COMPLETED)
    assert decision == lookup.Decision(outcome=Outcome.FOUND_COMPLETED, old_status=None)
    assert not decision.submits


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS))
def test_a_job_in_progress_is_waited_for(status: JobStatus) -> None:
    decision = lookup.decide(status)
    assert decision == lookup.Decision(outcome=Outcome.FOUND_IN_PROGRESS, old_status=None)
    assert not decision.submits


@pytest.mark.parametrize("status", sorted(job.TERMINAL - {JobStatus.COMPLETED}))
def test_a_job_that_ended_otherwise_is_submitted_again(status: JobStatus) -> None:
    decision = lookup.decide(status)
    assert decision == lookup.Decision(outcome=Outcome.RESUBMITTED, old_status=status)
    assert decision.submits


@pytest.mark.parametrize("status", sorted(JobStatus))
def test_every_status_is_decided_and_the_old_one_is_told_only_when_it_is_left(
    status: JobStatus,
) -> None:
    decision = lookup.decide(status)
    assert (decision.old_status is not None) == decision.submits
