"""Cancelling on Slurm: at every moment of an attempt's life, of one job of several, by slices.

Who is told as cancelled does not run, and was not started after that.
"""

import asyncio
import signal

import pytest

from dshpc_server.domain.job import Basis, RunTime
from dshpc_server.engine import port
from dshpc_server.engine.slurm import arrays
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, ready, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]


def _is_cancelled(end: engine_told.End) -> bool:
    return isinstance(end, port.Exited) and (end.cause, end.signal, end.note) == (
        port.Cause.CANCELLED,
        signal.SIGKILL,
        "",
    )


async def test_what_was_not_submitted_yet_is_cancelled_without_slurm(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine()
    fake.pause()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await engine.cancel_many([launch.key])
        assert _is_cancelled(await told.end_of(launch.key))
        fake.up()
        await slurm_waiting.answering(engine)
        await slurm_waiting.polled(fake)
    assert fake.submissions == []
    assert engine_launches.runs_of(launch) == 0


async def test_what_is_cancelled_at_the_moment_it_is_submitted_is_cancelled(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting(sleep_seconds=600) for _ in range(8)], make_engine()
    async with engine_told.running(engine) as told:
        await slurm_waiting.answering(engine)
        for number, launch in enumerate(many):
            await engine.submit_many([launch])
            await asyncio.sleep(0.03 * number)
            await engine.cancel_many([launch.key])
        ends = [await told.end_of(launch.key) for launch in many]
    assert all(map(_is_cancelled, ends))


@pytest.mark.parametrize("others", [0, 2])
async def test_one_that_waits_in_slurms_queue_is_cancelled_and_never_runs(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    others: int,
) -> None:
    launch, rest = launches.acting(), [launches.acting() for _ in range(others)]
    engine = make_engine()
    async with slurm_waiting.held(fake, engine, launch, *rest) as told:
        await slurm_waiting.polled(fake)
        await engine.cancel_many([launch.key])
        assert _is_cancelled(await told.end_of(launch.key))
        fake.release()
        assert slurm_waiting.exits([await told.end_of(one.key) for one in rest]) == [0] * others
    assert slurm_waiting.runs(launch, *rest) == [0] + [1] * others


async def test_one_that_runs_is_cancelled_and_the_others_go_on(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, other, engine = launches.script(STAY), launches.script(STAY), make_engine()
    async with started(engine, launch, other) as told:
        await engine.cancel_many([launch.key])
        assert _is_cancelled(await told.end_of(launch.key))
        let_go(other)
        assert (await told.exit_of(other.key)).exit_code == 0
    assert len(slurm_waiting.calls_of(fake, "scancel")) == 1


async def test_what_runs_is_cancelled_by_its_wrapper_while_the_controller_is_down(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.script(STAY), make_engine()
    async with started(engine, launch) as told:
        fake.down()
        await engine.cancel_many([launch.key])
        assert _is_cancelled(await told.end_of(launch.key))
        # The wrapper may be quicker than the next look at Slurm.
        await engine_told.eventually(lambda: not engine.healthy())


async def test_what_waits_is_cancelled_in_slurm_as_soon_as_the_controller_is_back(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine()
    async with slurm_waiting.held(fake, engine, launch) as told:
        await slurm_waiting.polled(fake)
        fake.down()
        await engine.cancel_many([launch.key])
        await engine_told.eventually(lambda: not engine.healthy())
        assert not told.ends(launch.key)
        fake.up()
        assert _is_cancelled(await told.end_of(launch.key))
        await slurm_waiting.queued(fake, 0)
        fake.release()
        await slurm_waiting.polled(fake)
    assert slurm_waiting.runs(launch) == [0]


async def test_what_is_cancelled_before_slurm_has_told_an_id_is_cancelled(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.script(STAY), make_engine()
    fake.take_but_fail()
    async with engine_told.running(engine) as told:
        await slurm_waiting.answering(engine)
        fake.lie("error")
        await engine.submit_many([launch])
        await ready(launch)
        await engine.cancel_many([launch.key])
        await slurm_waiting.polled(fake)
        assert not slurm_waiting.calls_of(fake, "scancel")
        fake.lie()
        assert _is_cancelled(await told.end_of(launch.key))
    assert slurm_waiting.runs(launch) == [1]


async def test_a_hundred_are_cancelled_by_one_call_that_names_slices(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many, engine = [launches.acting() for _ in range(100)], make_engine()
    async with slurm_waiting.held(fake, engine, *many) as told:
        await slurm_waiting.polled(fake)
        await engine.cancel_many([launch.key for launch in many[10:90]])
        ends = [await told.end_of(launch.key) for launch in many[10:90]]
        assert all(map(_is_cancelled, ends))
        assert len(slurm_waiting.in_state(fake, "PENDING")) == 20
        await engine.cancel_many([launch.key for launch in many])
        for launch in many:
            assert _is_cancelled(await told.end_of(launch.key))
    (submitted,) = fake.submissions
    assert slurm_waiting.calls_of(fake, "scancel") == [
        ["scancel", f"{submitted.id}_[10-89]"],
        ["scancel", f"{submitted.id}_[0-9,90-99]"],
    ]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_of_a_packed_task_one_job_is_cancelled_and_the_others_run(
    make_engine: MakeEngine,
    launches: engine_launches.Launches,
    fake: fake_slurm.FakeSlurm,
    position: int,
) -> None:
    tasks = [launches.script(STAY, run_time=_SHORT) for _ in range(3)]
    engine = make_engine(policy=arrays.Policy(pack_below_seconds=5, pack_jobs=3, parallel=1))
    async with engine_told.running(engine) as told:
        await engine.submit_many(tasks)
        await ready(tasks[0])
        await engine.cancel_many([tasks[position].key])
        rest = [one for number, one in enumerate(tasks) if number != position]
        let_go(*rest)
        assert slurm_waiting.exits([await told.end_of(one.key) for one in rest]) == [0, 0]
        assert _is_cancelled(await told.end_of(tasks[position].key))
    assert [one.tasks for one in fake.submissions] == [1]
    assert slurm_waiting.runs(tasks[position]) == [1 if position == 0 else 0]


_SHORT = RunTime(seconds=0.1, basis=Basis.DECLARED)
