"""The lifecycle table: whole, without dead ends, and printed as it is."""

import itertools
import runpy

import pytest

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import TRANSITIONS, Event, Mover

SOURCES = {transition.source for transition in TRANSITIONS}
TARGETS = {transition.target for transition in TRANSITIONS}
# Where an attempt may begin.
INITIAL = {JobStatus.PENDING, JobStatus.BLOCKED}


def reached_from(initial: set[JobStatus]) -> set[JobStatus]:
    reached, fresh = set(initial), set(initial)
    while fresh:
        fresh = {t.target for t in TRANSITIONS if t.source in fresh} - reached
        reached |= fresh
    return reached


def test_every_status_is_either_left_by_the_table_or_terminal() -> None:
    assert SOURCES == job.IN_PROGRESS
    assert set(JobStatus) - SOURCES == job.TERMINAL


def test_the_groups_of_statuses_are_disjoint_and_whole() -> None:
    alone = {JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.SKIPPED}
    groups = [job.IN_PROGRESS, job.FAILED, alone]
    assert set().union(*groups) == set(JobStatus)
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(groups, 2))


@pytest.mark.parametrize("status", sorted(job.TERMINAL))
def test_a_terminal_status_absorbs_every_event(status: JobStatus) -> None:
    assert [lifecycle.target(status, event) for event in Event] == [None] * len(Event)


def test_every_status_is_reached_by_some_attempt() -> None:
    assert reached_from(INITIAL) == set(JobStatus)


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS))
def test_every_status_in_progress_can_still_complete_and_can_be_cancelled(
    status: JobStatus,
) -> None:
    assert JobStatus.COMPLETED in reached_from({status})
    assert lifecycle.target(status, Event.CANCELLED) is JobStatus.CANCELLED


def test_an_event_leads_from_a_status_to_one_place_only() -> None:
    pairs = [(t.source, t.event) for t in TRANSITIONS]
    assert len(pairs) == len(set(pairs))
    assert all(lifecycle.target(t.source, t.event) is t.target for t in TRANSITIONS)


def test_every_event_and_every_mover_is_used() -> None:
    assert {t.event for t in TRANSITIONS} == set(Event)
    assert {t.mover for t in TRANSITIONS} == set(Mover)


def test_no_transition_stays_where_it_is() -> None:
    assert all(t.source is not t.target for t in TRANSITIONS)


def test_a_run_is_only_completed_by_the_reconciler() -> None:
    # Exit code 0 alone is not enough: the output must be stored first.
    into = {(t.event, t.mover) for t in TRANSITIONS if t.target is JobStatus.COMPLETED}
    assert into == {(Event.SUCCEEDED, Mover.RECONCILER)}


def test_the_way_of_an_ordinary_job() -> None:
    way = [JobStatus.PENDING]
    for event in (Event.CLAIMED, Event.STARTED, Event.ENDED, Event.SUCCEEDED):
        moved = lifecycle.target(way[-1], event)
        assert moved is not None
        way.append(moved)
    assert way[1:] == [
        JobStatus.CONFIGURING,
        JobStatus.RUNNING,
        JobStatus.COMPLETING,
        JobStatus.COMPLETED,
    ]


def test_an_event_that_comes_too_early_or_too_late_changes_nothing() -> None:
    assert lifecycle.target(JobStatus.PENDING, Event.STARTED) is None
    assert lifecycle.target(JobStatus.PENDING, Event.SUCCEEDED) is None
    assert lifecycle.target(JobStatus.RUNNING, Event.CLAIMED) is None
    assert lifecycle.target(JobStatus.COMPLETING, Event.STARTED) is None


def test_an_attempt_can_be_paused_again_and_again_and_end_in_between() -> None:
    running, suspended = JobStatus.RUNNING, JobStatus.SUSPENDED
    assert lifecycle.target(running, Event.SUSPENDED) is suspended
    assert lifecycle.target(suspended, Event.RESUMED) is running
    # A server that takes it over is told that it runs, before it is told that it is suspended.
    assert lifecycle.target(suspended, Event.STARTED) is running
    assert lifecycle.target(suspended, Event.SUCCEEDED) is JobStatus.COMPLETED
    assert lifecycle.target(suspended, Event.PREEMPTED) is JobStatus.PREEMPTED


def test_the_printed_table_holds_every_status_and_every_transition() -> None:
    lines = lifecycle.printed().splitlines()
    assert len(lines) == len(JobStatus) + len(TRANSITIONS)
    # What stands for PENDING, word for word.
    begin = lines.index("PENDING:")
    assert lines[begin + 1 : begin + 4] == [
        "  CLAIMED            -> CONFIGURING    (dispatcher)",
        "  CANCELLED          -> CANCELLED      (client)",
        "CONFIGURING:",
    ]
    assert {f"{status}: terminal" for status in job.TERMINAL} <= set(lines)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")  # it is imported
def test_the_table_can_be_printed_from_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_module("dshpc_server.domain.lifecycle", run_name="__main__")
    assert capsys.readouterr().out == lifecycle.printed() + "\n"
