"""Following a batch with the hands of a clock: every event in its place and at its time."""

import contextlib
from collections.abc import AsyncGenerator, Sequence

import pytest

from dshpc_server import errors
from dshpc_server.batches import (
    content,
    request,
    simulation,
    streaming,
    watchers,
)
from dshpc_server.batches.streaming import Accepted, Bookmark, Closing, Progress, Results
from dshpc_server.batches.untold import BEGINNING
from dshpc_server.domain.job import JobStatus
from support import batches_time, methods_site, store_values
from support.batches_time import Accepting, change

FINISHED = simulation.Wait(until_finished=True, timeout_seconds=None)
RESOLVED = simulation.Wait(until_finished=False, timeout_seconds=None)
QUIET = streaming.Reporting(transitions=False, heartbeat_seconds=15.0, statistics_seconds=None)
PACKING = streaming.Packing(
    encode=lambda row: b"%d" % row.index, rows_per_message=1000, max_bytes=1_000_000
)
A_REQUEST = request.BatchRequest(rows=(), display_name="")

Timed = tuple[float, streaming.BatchEvent]


def within(seconds: float) -> simulation.Wait:
    return simulation.Wait(until_finished=True, timeout_seconds=seconds)


class Following:
    """A simulation of these rows over a script of changes."""

    def __init__(self, *names: str, script: batches_time.Script = ()) -> None:
        self.clock = methods_site.HandClock()
        self.store = batches_time.RowsStore()
        self.watchers = batches_time.ScriptedWatchers(self.clock, script, self.store)
        self.accepting = Accepting(*names, store=self.store)
        self.simulation = batches_time.simulation_of(
            self.accepting, self.store, self.watchers, self.clock
        )

    async def events(
        self, wait: simulation.Wait = FINISHED, reporting: streaming.Reporting = QUIET
    ) -> list[Timed]:
        """Every event with the second it came at."""
        events = self.simulation.events(A_REQUEST, wait, reporting, PACKING)
        async with contextlib.aclosing(events):
            told = [(self.clock.monotonic(), event) async for event in events]
        assert self.watchers.open_watches == 0
        return told


def kinds(told: Sequence[Timed]) -> list[tuple[float, type]]:
    return [(at, type(event)) for at, event in told]


def indexes(told: Sequence[Timed]) -> list[list[int]]:
    return [[int(row) for row in e.rows] for _, e in told if isinstance(e, Results)]


def closing(told: Sequence[Timed]) -> Closing:
    last = told[-1][1]
    assert isinstance(last, Closing)
    assert sum(isinstance(event, Closing) for _, event in told) == 1
    return last


async def test_results_come_when_their_jobs_end_and_the_statistics_last() -> None:
    following = Following("a", "b", script=[(2, [change("b")]), (5, [change("a")])])
    told = await following.events()
    assert kinds(told) == [(0, Accepted), (2, Results), (5, Results), (5, Closing)]
    assert indexes(told) == [[1], [0]]
    assert told[0][1] == Accepted(batch_id="b", total_jobs=2, position=BEGINNING)
    assert closing(told).statistics.completed_jobs == 2
    assert closing(told).statistics.final
    assert following.watchers.asked == [{store_values.sha("a"), store_values.sha("b")}]


async def test_what_has_an_answer_already_is_told_at_once() -> None:
    told = await Following("a", "done", "refused", script=[(3, [change("a")])]).events()
    assert kinds(told) == [(0, Accepted), (0, Results), (3, Results), (3, Closing)]
    assert indexes(told) == [[1, 2], [0]]


async def test_a_batch_that_is_answered_already_waits_for_nothing() -> None:
    told = await Following("done", "refused").events()
    assert kinds(told) == [(0, Accepted), (0, Results), (0, Closing)]
    assert closing(told).statistics.final


async def test_jobs_that_end_together_are_told_together() -> None:
    told = await Following("a", "b", script=[(2, [change("b"), change("a")])]).events()
    assert indexes(told) == [[1, 0]]


async def test_a_start_is_told_only_when_transitions_are_asked_for() -> None:
    script = [(1, [change("a", JobStatus.RUNNING)]), (2, [change("a")])]
    told = await Following("a", script=script).events()
    assert kinds(told) == [(0, Accepted), (2, Results), (2, Closing)]
    reporting = streaming.Reporting(
        transitions=True, heartbeat_seconds=15.0, statistics_seconds=None
    )
    told = await Following("a", script=script).events(reporting=reporting)
    assert kinds(told) == [
        (0, Accepted),
        (0, Results),
        (1, Results),
        (2, Results),
        (2, Closing),
    ]


async def test_a_silent_stream_tells_that_it_is_alive_and_a_result_counts_as_that() -> None:
    script = [(40, [change("a")]), (50, [change("b")])]
    told = await Following("a", "b", script=script).events()
    assert kinds(told) == [
        (0, Accepted),
        (15, Bookmark),
        (30, Bookmark),
        (40, Results),
        (50, Results),
        (50, Closing),
    ]


async def test_changes_that_are_not_told_do_not_keep_a_stream_alive() -> None:
    script = [(14, [change("a", JobStatus.RUNNING)]), (20, [change("a")])]
    told = await Following("a", script=script).events()
    assert kinds(told) == [(0, Accepted), (15, Bookmark), (20, Results), (20, Closing)]


async def test_statistics_come_at_their_interval_while_they_change() -> None:
    reporting = streaming.Reporting(
        transitions=False, heartbeat_seconds=100.0, statistics_seconds=10.0
    )
    script = [(3, [change("a")]), (25, [change("b")]), (44, [change("c")])]
    told = await Following("a", "b", "c", script=script).events(reporting=reporting)
    assert kinds(told) == [
        (0, Accepted),
        (3, Results),
        (10, Progress),
        (25, Results),
        (30, Progress),
        (44, Results),
        (44, Closing),
    ]
    counted = [e.statistics.completed_jobs for _, e in told if isinstance(e, Progress)]
    assert counted == [1, 2]


async def test_statistics_that_stay_the_same_leave_the_heartbeat_alone() -> None:
    reporting = streaming.Reporting(
        transitions=False, heartbeat_seconds=15.0, statistics_seconds=10.0
    )
    told = await Following("a", script=[(35, [change("a")])]).events(reporting=reporting)
    assert kinds(told) == [
        (0, Accepted),
        (15, Bookmark),
        (30, Bookmark),
        (35, Results),
        (35, Closing),
    ]


async def test_a_stream_that_waited_long_enough_closes_with_what_is_known() -> None:
    script = [(4, [change("a")]), (60, [change("b")])]
    told = await Following("a", "b", script=script).events(within(20))
    assert kinds(told) == [
        (0, Accepted),
        (4, Results),
        (19, Bookmark),
        (20, Closing),
    ]
    assert not closing(told).statistics.final
    assert closing(told).statistics.in_progress_jobs == 1


async def test_what_ends_at_the_deadline_is_still_told() -> None:
    told = await Following("a", script=[(10, [change("a")])]).events(within(10))
    assert kinds(told) == [(0, Accepted), (10, Results), (10, Closing)]
    assert closing(told).statistics.final


async def test_until_resolved_tells_every_row_and_waits_for_none() -> None:
    told = await Following("a", "done", script=[(3, [change("a")])]).events(RESOLVED)
    assert kinds(told) == [(0, Accepted), (0, Results), (0, Closing)]
    assert indexes(told) == [[0, 1]]
    assert not closing(told).statistics.final


async def test_a_reader_that_leaves_early_leaves_no_watch() -> None:
    following = Following("a", script=[(3, [change("a")])])
    events: AsyncGenerator[streaming.BatchEvent, None] = following.simulation.events(
        A_REQUEST, FINISHED, QUIET, PACKING
    )
    assert isinstance(await anext(events), Accepted)
    assert following.watchers.open_watches == 1
    await events.aclose()
    assert following.watchers.open_watches == 0


async def test_an_answer_waits_for_the_end_of_all() -> None:
    following = Following("a", "b", script=[(2, [change("b")]), (5, [change("a")])])
    answer = await following.simulation.answer(A_REQUEST, FINISHED)
    assert following.clock.monotonic() == 5
    assert answer.batch_id == "b"
    assert [row.index for row in answer.rows or ()] == [0, 1]
    assert answer.statistics.completed_jobs == 2
    assert following.watchers.open_watches == 0


@pytest.mark.parametrize("seconds", [0.0, 3.0])
async def test_an_answer_that_waited_long_enough_tells_what_is_known(seconds: float) -> None:
    following = Following("a", "b", script=[(1, [change("b")]), (5, [change("a")])])
    answer = await following.simulation.answer(A_REQUEST, within(seconds))
    assert following.clock.monotonic() == seconds
    assert answer.statistics.completed_jobs == (1 if seconds else 0)
    assert not answer.statistics.final


async def test_an_answer_when_resolved_watches_nothing() -> None:
    following = Following("a")
    answer = await following.simulation.answer(A_REQUEST, RESOLVED)
    assert answer.statistics.in_progress_jobs == 1
    assert following.watchers.asked == []


async def test_a_change_between_acceptance_and_the_first_wait_is_not_missed() -> None:
    real, store = watchers.Watchers(), batches_time.RowsStore()
    accepting = Accepting("a", "b", store=store, publish=real)
    simulating = batches_time.simulation_of(accepting, store, real, methods_site.HandClock())
    answer = await simulating.answer(A_REQUEST, FINISHED)
    assert answer.statistics.completed_jobs == 2
    events = simulating.events(A_REQUEST, FINISHED, QUIET, PACKING)
    async with contextlib.aclosing(events):
        told = [event async for event in events]
    assert [type(event) for event in told] == [Accepted, Results, Closing]
    assert real.watched_jobs == 0


async def test_what_is_only_validated_is_told_at_once_and_never_accepted() -> None:
    following = Following("a", "done", "refused")
    asked = request.BatchRequest(rows=(), display_name="", validate_only=True)
    events = following.simulation.events(asked, FINISHED, QUIET, PACKING)
    async with contextlib.aclosing(events):
        told = [(following.clock.monotonic(), event) async for event in events]
    assert kinds(told) == [(0, Accepted), (0, Results), (0, Closing)]
    assert told[0][1] == Accepted(batch_id="", total_jobs=3, position=BEGINNING)
    assert indexes(told) == [[0, 1, 2]]
    assert following.watchers.asked == []
    answer = await following.simulation.answer(asked, FINISHED)
    assert answer.batch_id == ""
    assert [row.index for row in answer.rows or ()] == [0, 1, 2]


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "GOING_PAUSES_SECONDS", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("short_pauses")
async def test_a_batch_whose_file_goes_at_this_moment_is_prepared_anew() -> None:
    following = Following("done")
    following.accepting.going = ["x", "y"]
    told = await following.events()
    assert kinds(told) == [(0, Accepted), (0, Results), (0, Closing)]
    assert not following.accepting.going


@pytest.mark.usefixtures("short_pauses")
async def test_a_file_that_goes_and_goes_is_told_to_come_again_for() -> None:
    following = Following("done")
    following.accepting.going = list("xyz")
    with pytest.raises(errors.BeingRemovedError) as caught:
        await following.events()
    assert (caught.value.kind, caught.value.name) == ("file", "x")
    assert following.watchers.open_watches == 0
