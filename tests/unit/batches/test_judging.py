"""Judging: what becomes of attempts at the head of the queue, given what there is room for."""

import dataclasses

import pytest

from dshpc_server.batches import judging, run_times, trials
from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.domain.queue import Verdict
from dshpc_server.engine.port import Capacity
from dshpc_server.store.records import Claim
from support import methods_site, store_values
from support.store_values import claim

FOUR = Capacity(cpus=4, memory_bytes=0, gpus=0)
PACKING = Capacity(cpus=1, memory_bytes=0, gpus=0, queued_jobs=100, packs_below_seconds=5.0)
TAKE, STEP_OVER, STOP = Verdict.TAKE, Verdict.STEP_OVER, Verdict.STOP


def judging_by(capacity: Capacity, *, cpus: int = 0, attempts: int = 0) -> judging.Judge:
    """A judge where so many run, and use so many cores."""
    going = trials.Trials(
        run_times=run_times.RunTimes(on_observed=lambda: None),
        is_declared=lambda _: False,
        clock=methods_site.HandClock(),
    )
    return judging.Judge(
        capacity=capacity,
        in_use=Resources(cpus=cpus),
        attempts=attempts,
        trial=going.round(capacity),
    )


def of_another_method(name: str) -> Claim:
    spec = dataclasses.replace(claim(name).spec, function_hash=store_values.sha("other"))
    return dataclasses.replace(claim(name), spec=spec)


def test_what_fits_is_taken_until_one_does_not() -> None:
    judge = judging_by(FOUR, cpus=1, attempts=1)
    assert judge.most_jobs == 3
    verdicts = [judge.verdict(claim(number, cpus=cpus)) for number, cpus in enumerate((1, 1, 2))]
    assert verdicts == [TAKE, TAKE, STOP]
    assert judge.shortage == "waits for room: 3 of 4 cores are in use, and 2 are needed"


def test_what_is_too_large_for_everything_holds_up_nobody() -> None:
    judge = judging_by(FOUR)
    assert [judge.verdict(claim(cpus=cpus)) for cpus in (5, 4)] == [TAKE, TAKE]
    assert judge.shortage == ""


def test_one_that_waits_for_a_trial_is_stepped_over_and_says_so() -> None:
    judge = judging_by(PACKING)
    for number in range(run_times.LEAST_RUNS):
        assert judge.verdict(claim(number)) is TAKE
    assert judge.verdict(claim("held")) is STEP_OVER
    assert judge.verdict(of_another_method("free")) is TAKE
    assert judge.held == {AttemptKey(job_id=store_values.sha("held"), number=1)}
    assert judge.shortage == trials.WHY


def test_what_stops_the_others_is_what_they_wait_for() -> None:
    judge = judging_by(dataclasses.replace(PACKING, queued_jobs=run_times.LEAST_RUNS))
    for number in range(run_times.LEAST_RUNS):
        judge.verdict(claim(number))
    assert judge.verdict(claim("held")) is STEP_OVER
    assert judge.verdict(of_another_method("next")) is STOP
    assert judge.shortage.startswith("waits for a place in the queue of the engine")


def test_what_does_not_fit_counts_for_no_trial() -> None:
    """Or a large job that waits for room would be taken for one that shows how long it takes."""
    judge = judging_by(dataclasses.replace(PACKING, queued_jobs=run_times.LEAST_RUNS - 1))
    for number in range(run_times.LEAST_RUNS - 1):
        assert judge.verdict(claim(number)) is TAKE
    for _ in range(3):
        assert judge.verdict(claim("one too many")) is STOP


@pytest.mark.parametrize("times", [1, 2])
def test_a_judge_that_begins_anew_has_granted_nothing(times: int) -> None:
    judge = judging_by(PACKING)
    for _ in range(times):
        judge.restart()
        verdicts = [judge.verdict(claim(number)) for number in range(run_times.LEAST_RUNS + 1)]
        assert verdicts == [TAKE] * run_times.LEAST_RUNS + [STEP_OVER]
    judge.restart()
    assert (judge.shortage, judge.held) == ("", set())
