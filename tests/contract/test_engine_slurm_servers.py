"""The Slurm engine of several servers of one deployment: each attempt runs once, all are told.

A server that dies is an engine whose `run` ended, wherever it was; what it knew is gone with it.
"""

import asyncio
from collections.abc import Callable

import pytest

from contract import engine_servers_suite
from dshpc_server import crashing
from dshpc_server.engine import port
from dshpc_server.engine.slurm.engine import SlurmEngine
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, places, ready, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]


class TestSlurmServers(engine_servers_suite.EngineServersSuite):
    exit_record = "exit"


class _Died(BaseException):
    """A server died at a named moment."""


async def test_attempts_of_a_server_that_lives_are_told_to_both(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    runs, other = [launches.script(STAY) for _ in range(3)], make_engine()
    async with engine_told.running(other) as told, started(make_engine(), *runs) as first:
        await other.recover(places(*runs))
        for launch in runs:
            assert await told.start_of(launch.key) == await first.start_of(launch.key)
        let_go(*runs)
        for launch in runs:
            assert await told.exit_of(launch.key) == await first.exit_of(launch.key)
    assert slurm_waiting.runs(*runs) == [1] * 3
    assert len(fake.submissions) == 1


async def test_what_a_dead_server_had_in_the_queue_runs_for_the_one_that_takes_it_over(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    many, first, other = [launches.acting() for _ in range(2)], make_engine(), make_engine()
    fake.hold()
    async with engine_told.running(other) as told:
        async with engine_told.running(first):
            await first.submit_many(many)
            await slurm_waiting.queued(fake, 2)
        await other.recover(places(*many))
        fake.release()
        await slurm_waiting.all_run_once(told, *many)


@pytest.mark.parametrize("point", ["array.in_place", "array.submitted", "array.recorded"])
@pytest.mark.parametrize("is_shown", [True, False])
async def test_what_a_server_was_submitting_when_it_died_runs_once_or_never(
    make_engine: MakeEngine,
    launches: engine_launches.Launches,
    fake: fake_slurm.FakeSlurm,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    is_shown: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    many, other = [launches.acting() for _ in range(3)], make_engine()
    fake.hold()
    with monkeypatch.context() as patch:
        patch.setattr(crashing, "point", _dying_at(point))
        with pytest.raises(BaseExceptionGroup) as died:
            await _submit_and_die(make_engine(), many)
        assert died.group_contains(_Died)
    if not is_shown:
        fake.lie("error")
    async with engine_told.running(other) as told:
        await other.recover(places(*many))
        await slurm_waiting.polled(fake)
        fake.lie()
        if point == "array.in_place":
            assert {type(await told.end_of(one.key)) for one in many} == {port.Lost}
        await slurm_waiting.polled(fake)
        fake.release()
        ends = [await told.end_of(one.key) for one in many]
    if point == "array.in_place":
        assert fake.submissions == []
        assert slurm_waiting.runs(*many) == [0] * 3
    else:
        assert slurm_waiting.exits(ends) == [0] * 3
        assert slurm_waiting.runs(*many) == [1] * 3


async def test_of_what_two_servers_submit_neither_loses_what_the_others_task_runs(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    launch, first, second = launches.script(STAY), make_engine(), make_engine()
    async with engine_told.running(first) as told, engine_told.running(second) as told_too:
        await asyncio.gather(first.submit_many([launch]), second.submit_many([launch]))
        await ready(launch)
        await slurm_waiting.polled(fake, 20)
        assert not [*told.ends(launch.key), *told_too.ends(launch.key)]
        let_go(launch)
        assert (await told.exit_of(launch.key)).exit_code == 0
        assert (await told_too.exit_of(launch.key)).exit_code == 0
    assert slurm_waiting.runs(launch) == [1]


async def test_a_server_cancels_what_another_has_in_the_queue_and_both_are_told_the_same(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    waiting, first, other = launches.acting(), make_engine(), make_engine()
    fake.hold()
    async with engine_told.running(other) as told, engine_told.running(first) as told_first:
        await first.submit_many([waiting])
        await slurm_waiting.queued(fake, 1)
        await other.recover(places(waiting))
        await other.cancel_many([waiting.key])
        for end in (await told.exit_of(waiting.key), await told_first.exit_of(waiting.key)):
            assert (end.cause, end.signal, end.note) == (port.Cause.CANCELLED, 9, "")
    assert slurm_waiting.runs(waiting) == [0]


async def test_what_was_told_to_be_lost_is_not_even_sent_to_slurm(
    make_engine: MakeEngine, launches: engine_launches.Launches, fake: fake_slurm.FakeSlurm
) -> None:
    launch, first, second = launches.acting(), make_engine(), make_engine()
    async with engine_told.running(first) as told, engine_told.running(second) as told_too:
        await second.recover(places(launch))
        await told_too.end_of(launch.key)
        await first.submit_many([launch])
        await told.end_of(launch.key)
    assert fake.submissions == []


def _dying_at(point: str) -> Callable[[str], None]:
    def pass_by(name: str) -> None:
        if name == point:
            raise _Died(name)

    return pass_by


async def _submit_and_die(engine: SlurmEngine, launches: list[port.Launch]) -> None:
    async with asyncio.timeout(engine_told.DEADLINE_SECONDS):
        run = asyncio.create_task(engine.run(engine_told.Told().report))
        await engine.submit_many(launches)
        await run
