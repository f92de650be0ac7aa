"""Pauses grow, are bounded and spread, and come to an end."""

import grpc
import pytest

from dshpc.client import errors, retries

POLICY = retries.RetryPolicy(attempts=6, first_pause_seconds=1.0, longest_pause_seconds=5.0)


def unavailable(retry_after_seconds: float | None = None) -> errors.CallError:
    return errors.of(
        errors.Failure(
            code=grpc.StatusCode.UNAVAILABLE,
            message="gone",
            retry_after_seconds=retry_after_seconds,
        )
    )


def pauses(backoff: retries.Backoff, count: int) -> list[float]:
    return [backoff.pause_seconds(unavailable()) for _ in range(count)]


def test_pauses_double_up_to_the_longest_and_then_it_is_over() -> None:
    backoff = retries.Backoff(POLICY, from_the_start=True, chance=lambda: 0.0)

    assert pauses(backoff, 5) == [1.0, 2.0, 4.0, 5.0, 5.0]
    with pytest.raises(errors.ServerUnavailableError):
        pauses(backoff, 1)


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    backoff = retries.Backoff(POLICY, from_the_start=True, chance=lambda: 1.0)

    assert pauses(backoff, 3) == [0.5, 1.0, 2.0]


def test_progress_starts_the_count_anew() -> None:
    backoff = retries.Backoff(POLICY, from_the_start=True, chance=lambda: 0.0)
    pauses(backoff, 5)

    backoff.progressed()

    assert pauses(backoff, 5) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_what_never_began_is_not_waited_for() -> None:
    backoff = retries.Backoff(POLICY)
    with pytest.raises(errors.ServerUnavailableError):
        pauses(backoff, 1)

    backoff.progressed()

    assert pauses(backoff, 1)


def test_a_server_that_says_when_to_come_back_is_believed() -> None:
    backoff = retries.Backoff(POLICY, from_the_start=True)

    assert backoff.pause_seconds(unavailable(retry_after_seconds=7.0)) == 7.0


def test_the_default_is_patient_for_about_a_minute() -> None:
    policy = retries.RetryPolicy()
    backoff = retries.Backoff(policy, from_the_start=True, chance=lambda: 0.5)

    assert 30 < sum(pauses(backoff, policy.attempts - 1)) < 90
