"""The retry decision: what is retried, how often in a row, and after how long."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dshpc_server.domain import job, lifecycle, retry
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.retry import Retries

USUAL = Retries()
PASSING = {Event.LOST, Event.PREEMPTED, Event.NOT_STARTED}


def delay(
    event: Event = Event.LOST,
    *,
    retries: int = 0,
    exit_code: int | None = None,
    chance: float = 1.0,
    by: Retries = USUAL,
) -> float | None:
    return by.delay_seconds(event=event, exit_code=exit_code, retries=retries, chance=chance)


@pytest.mark.parametrize("event", Event)
def test_what_passes_is_retried_and_nothing_else(event: Event) -> None:
    assert (delay(event) is not None) == (event in PASSING)
    assert (delay(event, exit_code=1) is not None) == (event in PASSING)


@pytest.mark.parametrize("exit_code", [None, 0, 1, 74, 75, 76, 78])
def test_a_method_that_says_so_is_retried(exit_code: int | None) -> None:
    is_retried = delay(Event.EXITED_NONZERO, exit_code=exit_code) is not None
    assert is_retried == (exit_code == retry.RETRIABLE_EXIT_CODE)


def test_what_is_retried_has_failed() -> None:
    targets = {
        lifecycle.target(status, event)
        for status, event in itertools.product(JobStatus, Event)
        if delay(event, exit_code=75) is not None
    }
    assert targets - {None} <= job.FAILED


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_it_is_retried_so_often_in_a_row(max_retries: int) -> None:
    by = Retries(max_retries=max_retries)
    told = [delay(retries=retries, by=by) is not None for retries in range(6)]
    assert told == [retries < max_retries for retries in range(6)]


def test_the_delay_doubles_up_to_the_longest() -> None:
    by = Retries(max_retries=100, first_seconds=2.0, last_seconds=9.0)
    assert [delay(retries=retries, by=by) for retries in range(5)] == [2.0, 4.0, 8.0, 9.0, 9.0]


def test_a_first_delay_over_the_longest_is_cut() -> None:
    assert delay(by=Retries(first_seconds=50.0, last_seconds=5.0)) == 5.0


def test_no_delay_is_longer_than_a_day() -> None:
    by = Retries(max_retries=10_000, first_seconds=1e300, last_seconds=1e308)
    for retries in (0, 59, 60, 61, 9_999):
        assert delay(retries=retries, by=by) == retry.LONGEST_DELAY_SECONDS


def test_without_a_delay_it_is_due_at_once() -> None:
    by = Retries(first_seconds=0.0)
    assert delay(retries=2, by=by) == 0.0


@given(
    retries=st.integers(0, 2),
    chance=st.floats(0, 1),
    first_seconds=st.floats(0, 1e6),
    last_seconds=st.floats(0, 1e6),
)
def test_chance_spreads_the_delay_from_half_of_what_is_due_to_all_of_it(
    retries: int, chance: float, first_seconds: float, last_seconds: float
) -> None:
    by = Retries(first_seconds=first_seconds, last_seconds=last_seconds)
    least, found, most = (delay(retries=retries, chance=each, by=by) for each in (0, chance, 1))
    assert least is not None
    assert found is not None
    assert most is not None
    assert least == most / 2
    assert least <= found <= most
