"""The expected run time: declared, else observed often enough, else unknown."""

import dataclasses

import pytest

from dshpc_server.batches import run_times
from dshpc_server.domain.job import Basis, JobStatus, RunTime
from dshpc_server.store import records
from support import batches_values, methods_site, store_values

VERSION = dataclasses.replace(
    methods_site.version(), function_hash=batches_values.attempt().function_hash
)
DECLARED = dataclasses.replace(VERSION, expected_seconds=2.5)


def ran(
    seconds: float, status: JobStatus = JobStatus.COMPLETED, function: str = "function"
) -> records.Attempt:
    attempt = batches_values.attempt(status=status, started_at=store_values.NOON)
    return dataclasses.replace(
        attempt, ended_at=store_values.later(seconds), function_hash=store_values.sha(function)
    )


def observed(*all_seconds: float) -> float | None:
    seen = run_times.RunTimes(on_observed=lambda: None)
    for seconds in all_seconds:
        seen.note(ran(seconds))
    expected = seen.expected(VERSION)
    if expected is None:
        return None
    assert expected.basis is Basis.OBSERVED
    return expected.seconds


def test_what_is_declared_counts_before_what_was_seen() -> None:
    seen = run_times.RunTimes(on_observed=lambda: None)
    assert seen.expected(VERSION) is None
    for _ in range(run_times.LAST_RUNS):
        seen.note(ran(60.0))
    assert seen.expected(DECLARED) == RunTime(seconds=2.5, basis=Basis.DECLARED)
    assert seen.expected(VERSION) == RunTime(seconds=60.0, basis=Basis.OBSERVED)


def test_a_few_runs_are_not_enough() -> None:
    assert observed(*[1.0] * (run_times.LEAST_RUNS - 1)) is None
    assert observed(*[1.0] * run_times.LEAST_RUNS) == 1.0


@pytest.mark.parametrize(
    ("all_seconds", "expected"),
    [
        ([1, 2, 3, 4, 5], 5),
        ([5, 4, 3, 2, 1, 6, 7, 8, 9, 10], 9),
        ([*[1] * 18, 600, 600], 1),
        ([*[1] * 17, 600, 600, 600], 600),
        ([0] * 9, 0),
    ],
)
def test_nine_of_ten_keep_within_it(all_seconds: list[float], expected: float) -> None:
    assert observed(*all_seconds) == expected


def test_only_the_last_runs_count() -> None:
    assert observed(*[600.0] * 1000, *[1.0] * run_times.LAST_RUNS) == 1.0


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.COMPLETED}))
def test_only_runs_that_completed_count(status: JobStatus) -> None:
    seen = run_times.RunTimes(on_observed=lambda: None)
    for _ in range(run_times.LEAST_RUNS):
        seen.note(ran(1.0, status))
        seen.note(dataclasses.replace(ran(1.0), started_at=None))
    assert seen.expected(VERSION) is None


def test_it_is_told_once_that_enough_was_seen_of_a_version() -> None:
    told: list[frozenset[str]] = []
    seen = run_times.RunTimes(on_observed=lambda: told.append(seen.observed))
    for _ in range(run_times.LEAST_RUNS - 1):
        seen.note(ran(1.0))
    assert seen.observed == frozenset()
    for _ in range(10):
        seen.note(ran(1.0))
    assert told == [{VERSION.function_hash}]


def test_versions_are_told_apart_and_the_one_that_ran_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_times, "_MOST_VERSIONS", 3)
    seen = run_times.RunTimes(on_observed=lambda: None)
    functions = ["a", "b", "c", "a", "d"]  # b is the one
    for function in functions:
        for _ in range(run_times.LEAST_RUNS):
            seen.note(ran(len(function) + ord(function), function=function))
    known = {
        function: seen.expected(
            dataclasses.replace(VERSION, function_hash=store_values.sha(function))
        )
        for function in functions
    }
    assert {function: each and each.seconds for function, each in known.items()} == {
        "a": 98.0,
        "b": None,
        "c": 100.0,
        "d": 101.0,
    }
    assert seen.observed == {store_values.sha(function) for function in ("a", "c", "d")}
