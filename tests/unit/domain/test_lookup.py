"""The look-up decision for every way a job can stand and everything a row can ask."""

import itertools

import pytest

from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lookup import CachePolicy, Decision, Kept, Policy, ResubmitPolicy, Standing

NOT_COMPLETED = sorted(job.TERMINAL - {JobStatus.COMPLETED})
ANEW = [CachePolicy.REFRESH, CachePolicy.BYPASS]
SUBMIT = Decision(outcome=Outcome.SUBMITTED)
NOT_FOUND = Decision(outcome=Outcome.NOT_FOUND)
POLICIES = [
    Policy(cache=cache, resubmit=resubmit)
    for cache, resubmit in itertools.product(CachePolicy, ResubmitPolicy)
]


def decide(standing: Standing | None, cache: CachePolicy = CachePolicy.USE) -> Decision:
    return lookup.decide(standing, Policy(cache=cache))


@pytest.mark.parametrize("cache", CachePolicy)
def test_a_job_that_is_unknown_is_submitted_unless_nothing_is_to_run(cache: CachePolicy) -> None:
    assert decide(None, cache) == (NOT_FOUND if cache is CachePolicy.ONLY else SUBMIT)


def test_a_completed_job_is_the_answer() -> None:
    decision = decide(Standing(status=JobStatus.COMPLETED))
    assert decision == Decision(outcome=Outcome.FOUND_COMPLETED)
    assert not decision.submits
    assert decide(Standing(status=JobStatus.COMPLETED), CachePolicy.ONLY) == decision


@pytest.mark.parametrize("cache", ANEW)
def test_a_completed_job_is_run_anew_when_that_is_asked(cache: CachePolicy) -> None:
    decision = decide(Standing(status=JobStatus.COMPLETED), cache)
    assert decision == SUBMIT
    assert decision.submits


@pytest.mark.parametrize("cache", CachePolicy)
def test_a_completed_job_without_its_output_is_as_an_unknown_one(cache: CachePolicy) -> None:
    gone = Standing(status=JobStatus.COMPLETED, has_output=False)
    assert decide(gone, cache) == decide(None, cache)


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS))
@pytest.mark.parametrize("replaced", [None, JobStatus.TIMEOUT])
def test_a_job_in_progress_is_waited_for_whatever_is_asked(
    status: JobStatus, replaced: JobStatus | None
) -> None:
    for policy in POLICIES:
        decision = lookup.decide(Standing(status=status, replaced=replaced), policy)
        assert decision == Decision(outcome=Outcome.FOUND_IN_PROGRESS, old_status=replaced)


@pytest.mark.parametrize("status", NOT_COMPLETED)
@pytest.mark.parametrize("cache", [CachePolicy.USE, *ANEW])
def test_a_job_that_ended_otherwise_is_submitted_again(
    status: JobStatus, cache: CachePolicy
) -> None:
    decision = decide(Standing(status=status), cache)
    assert decision == Decision(outcome=Outcome.RESUBMITTED, old_status=status)
    assert decision.submits


@pytest.mark.parametrize("status", NOT_COMPLETED)
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (Policy(cache=CachePolicy.ONLY), Kept.ONLY),
        (Policy(cache=CachePolicy.ONLY, resubmit=ResubmitPolicy.NEVER), Kept.ONLY),
        (Policy(resubmit=ResubmitPolicy.NEVER), Kept.NEVER),
    ],
)
def test_a_failure_is_the_answer_when_nothing_is_to_run_again(
    status: JobStatus, policy: Policy, kept: Kept
) -> None:
    decision = lookup.decide(Standing(status=status), policy)
    assert decision == Decision(outcome=Outcome.FAILURE_KEPT, old_status=status, kept=kept)
    assert not decision.submits


@pytest.mark.parametrize(
    ("resubmit", "exit_code", "kept"),
    [
        (ResubmitPolicy.RETRIABLE, lookup.PERMANENT_EXIT_CODE, Kept.PERMANENT),
        (ResubmitPolicy.RETRIABLE, 1, None),
        (ResubmitPolicy.RETRIABLE, None, None),
        (ResubmitPolicy.ALWAYS, lookup.PERMANENT_EXIT_CODE, None),
    ],
)
def test_a_permanent_failure_is_kept_by_those_who_heed_it(
    resubmit: ResubmitPolicy, exit_code: int | None, kept: Kept | None
) -> None:
    standing = Standing(status=JobStatus.FAILED, exit_code=exit_code)
    assert lookup.decide(standing, Policy(resubmit=resubmit)).kept is kept


@pytest.mark.parametrize(("failures", "kept"), [(4, None), (5, Kept.MAX_ATTEMPTS)])
def test_a_job_that_failed_too_often_is_not_run_again(failures: int, kept: Kept | None) -> None:
    standing = Standing(status=JobStatus.FAILED, failures=failures)
    assert lookup.decide(standing, Policy(max_attempts=5)).kept is kept


@pytest.mark.parametrize("cache", ANEW)
def test_who_wants_it_anew_gets_that_however_often_it_failed(cache: CachePolicy) -> None:
    standing = Standing(status=JobStatus.FAILED, exit_code=78, failures=99)
    for resubmit in ResubmitPolicy:
        decision = lookup.decide(standing, Policy(cache=cache, resubmit=resubmit))
        assert decision == Decision(outcome=Outcome.RESUBMITTED, old_status=JobStatus.FAILED)


@pytest.mark.parametrize("status", sorted(JobStatus))
def test_what_is_told_fits_the_outcome(status: JobStatus) -> None:
    for policy in POLICIES:
        decision = lookup.decide(Standing(status=status), policy)
        is_again = decision.outcome in (Outcome.RESUBMITTED, Outcome.FAILURE_KEPT)
        assert (decision.old_status is not None) == is_again
        assert (decision.kept is not None) == (decision.outcome is Outcome.FAILURE_KEPT)
        assert not (decision.submits and policy.cache is CachePolicy.ONLY)
