"""How an exit is read: the engine's own doing first, then the signal, then the exit code."""

import dataclasses
import pathlib

import pytest

from dshpc_server.batches import endings
from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine.port import Cause, Exited
from support import store_values

TABLE = [
    (0, None, Cause.NONE, Event.SUCCEEDED, ""),
    (1, None, Cause.NONE, Event.EXITED_NONZERO, "Exit code 1"),
    (75, None, Cause.NONE, Event.EXITED_NONZERO, "Exit code 75 (temporary failure)"),
    (78, None, Cause.NONE, Event.EXITED_NONZERO, "Exit code 78 (permanent failure)"),
    (255, None, Cause.NONE, Event.EXITED_NONZERO, "Exit code 255"),
    (None, 9, Cause.NONE, Event.KILLED_BY_SIGNAL, "Killed by signal 9 (SIGKILL)"),
    (None, 11, Cause.NONE, Event.KILLED_BY_SIGNAL, "Killed by signal 11 (SIGSEGV)"),
    (None, 63, Cause.NONE, Event.KILLED_BY_SIGNAL, "Killed by signal 63 (unknown)"),
    (None, 9, Cause.OVER_TIME, Event.OVER_TIME, "Stopped after its timeout of 1.5 s"),
    (0, None, Cause.OVER_TIME, Event.OVER_TIME, "Stopped after its timeout of 1.5 s"),
    (None, 9, Cause.OVER_MEMORY, Event.OVER_MEMORY, "Stopped for using more than its 64 bytes"),
    (3, None, Cause.CANCELLED, Event.CANCELLED, "Cancelled"),
    (None, 15, Cause.PREEMPTED, Event.PREEMPTED, "Stopped in favour of other jobs"),
    (None, 9, Cause.PAST_DEADLINE, Event.PAST_DEADLINE, "Stopped at its deadline"),
]


def exited(exit_code: int | None, signal: int | None, cause: Cause) -> Exited:
    return Exited(
        key=AttemptKey(job_id="a" * 64, number=1),
        at=store_values.NOON,
        started_at=store_values.NOON,
        engine_job_id="1",
        node="here",
        exit_code=exit_code,
        signal=signal,
        cause=cause,
        stdout=pathlib.Path("stdout"),
        stderr=pathlib.Path("stderr"),
    )


@pytest.mark.parametrize(("exit_code", "signal", "cause", "event", "reason"), TABLE)
def test_an_exit_is_read_as_the_table_says(
    exit_code: int | None, signal: int | None, cause: Cause, event: Event, reason: str
) -> None:
    fact = exited(exit_code, signal, cause)
    assert endings.event(fact) is event
    told = endings.reason(fact, timeout_seconds=1.5, memory_bytes=64)
    assert told.startswith(reason)
    assert bool(told) == bool(reason)


def test_every_cause_is_in_the_table_and_ends_a_running_attempt() -> None:
    assert {cause for _, _, cause, _, _ in TABLE} == set(Cause)
    for _, _, _, event, _ in TABLE:
        assert lifecycle.target(JobStatus.RUNNING, event) in job.TERMINAL


@pytest.mark.parametrize(
    ("cancel_reason", "told"),
    [(None, "Cancelled"), ("", "Cancelled"), ("no longer needed", "Cancelled: no longer needed")],
)
def test_who_cancelled_is_told_with_what_was_said(cancel_reason: str | None, told: str) -> None:
    fact = exited(None, 9, Cause.CANCELLED)
    assert told == endings.reason(
        fact, timeout_seconds=1.5, memory_bytes=64, cancel_reason=cancel_reason
    )
    assert endings.cancelled(cancel_reason) == told


def test_an_exit_that_came_before_the_stop_keeps_its_own_reason() -> None:
    fact = exited(3, None, Cause.NONE)
    told = endings.reason(fact, timeout_seconds=1.5, memory_bytes=64, cancel_reason="too late")
    assert told == "Exit code 3"


@pytest.mark.parametrize(
    ("exit_code", "cause", "told"),
    [
        (None, Cause.CANCELLED, "Cancelled: cancelled in Slurm, not by this service"),
        (3, Cause.NONE, "Exit code 3: cancelled in Slurm, not by this service"),
        (0, Cause.NONE, ""),
    ],
)
def test_what_the_scheduler_says_is_added_to_the_reason_of_a_failure(
    exit_code: int | None, cause: Cause, told: str
) -> None:
    fact = exited(exit_code, 9 if exit_code is None else None, cause)
    fact = dataclasses.replace(fact, note="cancelled in Slurm, not by this service")
    assert endings.reason(fact, timeout_seconds=1.5, memory_bytes=64) == told
