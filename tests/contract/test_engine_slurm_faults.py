"""A Slurm controller that lies, is away, forgets, or gives ids again: nothing is lost or run twice.

Ends are told from the records of wrappers meanwhile.
"""

import signal

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.slurm import verdict
from support import engine_launches, engine_told, fake_slurm, slurm_hands, slurm_waiting
from support.engine_staying import let_go, ready, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

LONG = verdict.Patience(
    grace_seconds=60.0, doubt_seconds=60.0, settle_seconds=60.0, alive_seconds=60.0
)
"""Longer than a test: what is told in it was not told because somebody lost patience."""


@pytest.mark.parametrize("fake", [{"up_seconds": 3600.0}], indirect=True)
@pytest.mark.parametrize("kind", ["empty", "cut", "garbage", "error"])
async def test_a_squeue_that_lies_for_more_than_a_minute_loses_nothing_and_runs_nothing_twice(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    kind: str,
) -> None:
    running = [launches.script(STAY) for _ in range(3)]
    waiting = [launches.acting() for _ in range(3)]
    hands = slurm_hands.Hands()
    engine = make_engine(clock=hands, pace=slurm_hands.PACE, patience=verdict.Patience())
    async with engine_told.running(engine) as told:
        await engine.submit_many(running)
        await ready(*running)
        fake.hold()
        await engine.submit_many(waiting)
        await slurm_waiting.queued(fake, 3)
        await hands.let_pass(2)
        fake.lie(kind)
        before = fake.polls
        await hands.let_pass(36, step=3)
        let_go(running[0])
        assert (await told.exit_of(running[0].key)).exit_code == 0
        assert engine.healthy() is (kind in {"empty", "cut"})
        await hands.let_pass(36, step=3)
        assert fake.polls >= before + 3
        assert slurm_waiting.jobs_of(told) == {"Exited": 1}
        fake.lie()
        await hands.let_pass(2)
        assert engine.healthy()
        fake.release()
        let_go(*running)
        ends = [await told.end_of(one.key) for one in (*running, *waiting)]
    assert slurm_waiting.exits(ends) == [0] * 6
    assert slurm_waiting.runs(*running, *waiting) == [1] * 6
    assert len(told.facts) == 12
    assert len(fake.submissions) == 2


async def test_what_an_answering_controller_denies_for_long_is_lost_and_never_starts(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    running, waiting = launches.script(STAY), launches.acting()
    engine = make_engine()  # whose patience ends, but not with a wrapper that shows itself
    async with started(engine, running) as told:
        fake.hold()
        await engine.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        fake.lie("empty")
        lost = await told.end_of(waiting.key)
        assert isinstance(lost, port.Lost)
        assert not told.ends(running.key)
        fake.lie()
        fake.release()
        await slurm_waiting.queued(fake, 0)
        let_go(running)
        assert (await told.exit_of(running.key)).exit_code == 0
        await slurm_waiting.polled(fake)
    assert slurm_waiting.runs(waiting) == [0]
    assert told.ends(waiting.key) == [lost]


@pytest.mark.parametrize("fault", ["down", "pause"])
async def test_a_controller_that_is_away_changes_nothing_and_ends_are_told(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    fault: str,
) -> None:
    running = [launches.script(STAY) for _ in range(3)]
    late, engine = launches.acting(), make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many(running)
        await ready(*running)
        for launch in running:
            await told.start_of(launch.key)
        getattr(fake, fault)()
        await slurm_waiting.failing(engine)
        await engine.submit_many([late])
        let_go(running[0])
        assert (await told.exit_of(running[0].key)).exit_code == 0
        assert engine.waiting(late.key).why == "Slurm's controller does not answer"
        before = len(fake.calls)
        await engine_told.eventually(lambda: len(fake.calls) > before + 3)
        assert slurm_waiting.jobs_of(told) == {"Exited": 1}
        fake.up()
        await slurm_waiting.answering(engine)
        let_go(*running)
        ends = [await told.end_of(one.key) for one in (*running, late)]
    assert slurm_waiting.exits(ends) == [0] * 4
    assert slurm_waiting.runs(*running, late) == [1] * 4


async def test_what_a_crashed_controller_forgot_is_lost_and_what_runs_goes_on(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    running, waiting = [launches.script(STAY) for _ in range(2)], launches.acting()
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many(running)
        await ready(*running)
        fake.hold()
        await engine.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        await slurm_waiting.polled(fake)
        fake.crash(within_seconds=600)
        lost = await told.end_of(waiting.key)
        assert isinstance(lost, port.Lost)
        let_go(*running)
        assert slurm_waiting.exits([await told.end_of(one.key) for one in running]) == [0, 0]
    assert slurm_waiting.runs(*running, waiting) == [1, 1, 0]


async def test_states_of_an_array_that_was_given_our_id_again_are_not_taken_for_ours(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    first = [launches.script(STAY) for _ in range(2)]
    second = [launches.acting(exit_code=7) for _ in range(2)]
    engine = make_engine(patience=LONG)
    async with engine_told.running(engine) as told:
        await engine.submit_many(first)
        await ready(*first)
        fake.crash(within_seconds=600)
        await engine.submit_many(second)
        ends = [await told.end_of(one.key) for one in second]
        assert slurm_waiting.exits(ends) == [7, 7]
        assert slurm_waiting.task_id(first[0]) == slurm_waiting.task_id(second[0])
        fake.hold()
        third = launches.acting()
        await engine.submit_many([third])
        await slurm_waiting.queued(fake, 1)
        fake.end(slurm_waiting.in_state(fake, "PENDING")[0].id, "NODE_FAIL")
        assert isinstance(await told.end_of(third.key), port.Lost)
        assert not [end for one in first for end in told.ends(one.key)]
        let_go(*first)
        assert slurm_waiting.exits([await told.end_of(one.key) for one in first]) == [0, 0]
    assert slurm_waiting.runs(*first, *second, third) == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("fake", [{"up_seconds": 3600.0}], indirect=True)
@pytest.mark.parametrize(("ago_seconds", "is_lost"), [(0.0, True), (600.0, False)])
async def test_what_a_controller_kills_soon_after_it_was_started_anew_was_cancelled_by_nobody(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    ago_seconds: float,
    is_lost: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    running, waiting, engine = launches.script(STAY), launches.acting(), make_engine()
    async with started(engine, running) as told:
        fake.hold()
        await engine.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        fake.restart(ago_seconds=ago_seconds)
        for task in fake.tasks:
            fake.end(task.id, "CANCELLED")
        ends = [await told.end_of(one.key) for one in (running, waiting)]
    if is_lost:
        assert [type(end) for end in ends] == [port.Lost, port.Lost]
    else:
        causes = [end.cause for end in ends if isinstance(end, port.Exited)]
        assert causes == [port.Cause.CANCELLED, port.Cause.CANCELLED]
    assert slurm_waiting.runs(running, waiting) == [1, 0]


@pytest.mark.parametrize("fake", [{"up_seconds": 3600.0}], indirect=True)
@pytest.mark.parametrize(("ago_seconds", "is_lost"), [(0.0, True), (600.0, False)])
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
async def test_a_job_that_is_killed_soon_after_the_controller_was_started_anew_is_lost(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    by: signal.Signals,
    ago_seconds: float,
    is_lost: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    killed, engine = launches.script(STAY + f"kill -{by} $$"), make_engine()
    async with started(engine, killed) as told:
        fake.restart(ago_seconds=ago_seconds)
        let_go(killed)
        end = await told.end_of(killed.key)
    if is_lost:
        assert isinstance(end, port.Lost)
    else:
        assert isinstance(end, port.Exited)
        assert (end.signal, end.cause) == (by, port.Cause.NONE)


@pytest.mark.parametrize("fake", [{"up_seconds": 3600.0}], indirect=True)
async def test_a_kill_that_nobody_explains_is_told_once_the_controller_says_when_it_was_started(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    killed = launches.script(STAY + "kill -9 $$")
    other, engine = launches.script(STAY), make_engine()
    async with started(engine, killed, other) as told:
        fake.down()
        let_go(killed)
        await engine_told.eventually((killed.folder / "exit").exists)
        let_go(other)
        assert slurm_waiting.exits([await told.end_of(other.key)]) == [0]
        assert not told.ends(killed.key)
        fake.restart()
        fake.up()
        assert isinstance(await told.end_of(killed.key), port.Lost)
