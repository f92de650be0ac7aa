"""Trials: of a version of which nobody knows how long it takes a few jobs go first."""

import dataclasses

import pytest

from dshpc_server.batches import run_times, trials
from dshpc_server.domain.job import JobStatus
from dshpc_server.engine.port import Capacity
from dshpc_server.store.records import Claim
from support import batches_values, methods_site, store_values
from support.store_values import claim

CAPACITY = Capacity(cpus=8, memory_bytes=0, gpus=0, queued_jobs=1000, packs_below_seconds=5.0)
HELD_SECONDS = 5.0 + trials.STARTING_SECONDS
FUNCTION = claim().spec.function_hash


@pytest.fixture
def clock() -> methods_site.HandClock:
    return methods_site.HandClock()


@pytest.fixture
def seen() -> run_times.RunTimes:
    return run_times.RunTimes(on_observed=lambda: None)


@pytest.fixture
def going(seen: run_times.RunTimes, clock: methods_site.HandClock) -> trials.Trials:
    return trials.Trials(run_times=seen, is_declared=lambda _: False, clock=clock)


def go(going: trials.Trials, jobs: int, *, cpus: int = 1, capacity: Capacity = CAPACITY) -> int:
    """Hand over what is let through of so many jobs; return how many those are."""
    handed_over = going.round(capacity)
    admitted = [admit(handed_over, claim(number, cpus=cpus)) for number in range(jobs)]
    going.keep(handed_over)
    assert admitted == sorted(admitted, reverse=True)
    return admitted.count(True)


def admit(handed_over: trials.Round, wanted: Claim) -> bool:
    """Hand this one over, unless it is held back."""
    if handed_over.holds(wanted):
        return False
    handed_over.count(wanted)
    return True


def observe(seen: run_times.RunTimes, function_hash: str = FUNCTION) -> None:
    ended = batches_values.attempt(status=JobStatus.COMPLETED, started_at=batches_values.STARTED_AT)
    for _ in range(run_times.LEAST_RUNS):
        seen.note(dataclasses.replace(ended, function_hash=function_hash))


@pytest.mark.parametrize(
    ("cpus", "first"), [(1, 8), (2, run_times.LEAST_RUNS), (16, run_times.LEAST_RUNS)]
)
def test_as_many_go_first_as_run_at_a_time_and_as_have_to_be_seen(
    going: trials.Trials, cpus: int, first: int
) -> None:
    assert go(going, 100, cpus=cpus) == first
    assert go(going, 100, cpus=cpus) == 0


def test_the_others_go_when_it_is_known_how_long_they_take(
    going: trials.Trials, seen: run_times.RunTimes
) -> None:
    assert go(going, 3) == 3
    assert go(going, 100) == 5
    observe(seen)
    assert go(going, 100) == 100
    assert going.round(CAPACITY).trials == {}


def test_the_others_go_when_short_jobs_would_have_shown_that_they_are_short(
    going: trials.Trials, clock: methods_site.HandClock
) -> None:
    go(going, 3)
    clock.advance(1000.0)  # that is no reason to give up on the others
    assert go(going, 100) == 5
    clock.advance(1.0)
    held = going.round(CAPACITY)
    assert held.holds(claim())
    assert held.held_seconds == HELD_SECONDS - 1.0
    clock.advance(HELD_SECONDS - 1.0)
    assert go(going, 100) == 100


@pytest.mark.parametrize(
    "capacity",
    [
        dataclasses.replace(CAPACITY, packs_below_seconds=0.0),
        Capacity(cpus=8, memory_bytes=0, gpus=0),
    ],
)
def test_nothing_is_held_back_for_an_engine_that_does_not_pack(
    going: trials.Trials, capacity: Capacity
) -> None:
    assert go(going, 100, capacity=capacity) == 100


def test_nothing_is_held_back_of_a_method_that_says_how_long_it_takes(
    seen: run_times.RunTimes, clock: methods_site.HandClock
) -> None:
    declared = trials.Trials(run_times=seen, is_declared=lambda _: True, clock=clock)
    assert go(declared, 100) == 100


def test_one_method_does_not_count_for_another(going: trials.Trials) -> None:
    assert go(going, 100) == 8
    other = dataclasses.replace(claim().spec, function_hash=store_values.sha("other"))
    assert not going.round(CAPACITY).holds(dataclasses.replace(claim(), spec=other))


def test_what_came_to_nothing_does_not_count(going: trials.Trials) -> None:
    handed_over = going.round(CAPACITY)
    for _ in range(2):
        handed_over.restart()
        admitted = [admit(handed_over, claim(number)) for number in range(9)]
        assert admitted == [True] * 8 + [False]
    handed_over.restart()
    assert handed_over.held_seconds is None
    going.keep(handed_over)
    assert go(going, 9) == 8


def test_the_versions_that_were_tried_longest_ago_are_forgotten(
    going: trials.Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_MOST_VERSIONS", 2)
    for function in ("a", "b", "c"):
        spec = dataclasses.replace(claim().spec, function_hash=store_values.sha(function))
        handed_over = going.round(CAPACITY)
        assert admit(handed_over, dataclasses.replace(claim(), spec=spec))
        going.keep(handed_over)
    kept = going.round(CAPACITY).trials
    assert list(kept) == [store_values.sha("b"), store_values.sha("c")]


def test_of_what_is_held_the_one_that_may_go_first_says_when_to_look_again(
    going: trials.Trials, clock: methods_site.HandClock
) -> None:
    other = dataclasses.replace(claim().spec, function_hash=store_values.sha("other"))
    wanted = {"first": claim(), "later": dataclasses.replace(claim(), spec=other)}
    for each in wanted.values():
        handed_over = going.round(CAPACITY)
        for _ in range(8):
            assert admit(handed_over, each)
        going.keep(handed_over)
        clock.advance(1.0)
    held = going.round(CAPACITY)
    assert all(held.holds(each) for each in wanted.values())
    assert held.held_seconds == HELD_SECONDS - 2.0
