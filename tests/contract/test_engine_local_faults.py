"""The local engine when server or runner die: nothing runs twice, no result or process is lost.

The server's death is an engine whose `run` ended and another engine over the same folder; the
runner's is SIGKILL.
"""

import os
import pathlib
import signal
from collections.abc import Sequence

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.local import processes
from dshpc_server.engine.local.engine import LocalEngine
from support import engine_launches, engine_leavings, engine_told
from support.engine_local_fixtures import MakeEngine, launches, make_engine, nothing_is_left
from support.engine_staying import kill_runner, let_go, places, ready

__all__ = ["launches", "make_engine", "nothing_is_left"]

STAY = """
    cd "$JOB_WORKSPACE"
    (setsid sh -c 'echo $$ > child.new; mv child.new child; exec sleep 600' &)
    until [ -e child ]; do :; done
    touch ready
    until [ -e "$METHOD_DIR/go" ]; do sleep 0.01; done
    echo done
"""
"""Stays until it is let go, with a child in a session of its own."""


async def test_an_attempt_that_runs_on_without_a_server_is_taken_up_by_the_next(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    runner_pid = await _start_and_leave(make_engine(), launch)
    engine = make_engine()
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        start = await told.start_of(launch.key)
        assert engine.runner_pid == runner_pid
        let_go(launch)
        end = await told.exit_of(launch.key)
    assert (end.exit_code, end.engine_job_id) == (0, start.engine_job_id)
    assert end.stdout.read_text() == "done\n"


async def test_an_attempt_that_ended_while_there_was_no_server_is_told_to_the_next(
    make_engine: MakeEngine, launches: engine_launches.Launches, tmp_path: pathlib.Path
) -> None:
    launch = launches.script(STAY)
    await _start_and_leave(make_engine(), launch)
    let_go(launch)
    # With nothing to do and nobody connected, the runner goes.
    await engine_told.eventually(lambda: not engine_leavings.processes_of(tmp_path))
    engine = make_engine()
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        end = await told.exit_of(launch.key)
    assert (end.exit_code, end.stdout.read_text()) == (0, "done\n")


async def test_an_attempt_of_an_earlier_server_can_be_cancelled(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    await _start_and_leave(make_engine(), launch)
    engine = make_engine()
    await engine.recover(places(launch))
    await engine.cancel_many([launch.key])
    async with engine_told.running(engine) as told:
        end = await told.exit_of(launch.key)
    assert end.cause is port.Cause.CANCELLED


async def test_an_attempt_that_was_never_started_is_lost_when_it_is_recovered(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.acting()
    engine = make_engine()
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        end = await told.end_of(launch.key)
    assert isinstance(end, port.Lost)
    assert end.reason == "it was never started"


async def test_a_killed_runner_is_replaced_and_what_it_watched_is_ended_and_lost(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch, other = launches.script(STAY), launches.acting()
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await ready(launch)
        child = int((launch.folder / "workspace" / "child").read_text())
        killed = kill_runner(engine)
        end = await told.end_of(launch.key)
        assert not engine_leavings.processes_of(launch.folder)
        assert processes.look_up(child) is None
        assert engine.runner_pid != killed
        await engine.submit_many([other])
        assert (await told.exit_of(other.key)).exit_code == 0
    assert isinstance(end, port.Lost)
    assert len(told.ends(launch.key)) == 1


async def test_what_a_dead_runner_watched_is_ended_by_the_next_server(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    runner_pid = await _start_and_leave(make_engine(), launch)
    os.kill(runner_pid, signal.SIGKILL)
    engine = make_engine()
    await engine.recover(places(launch))
    async with engine_told.running(engine) as told:
        end = await told.end_of(launch.key)
        assert not engine_leavings.processes_of(launch.folder)
    assert isinstance(end, port.Lost)


async def test_a_lost_attempt_stays_lost(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await ready(launch)
        kill_runner(engine)
        lost = await told.end_of(launch.key)
        await engine.submit_many([launch])
        await engine_told.eventually(lambda: len(told.ends(launch.key)) == 2)
    assert told.ends(launch.key) == [lost, lost]
    assert isinstance(lost, port.Lost)


async def test_ends_that_a_runner_recorded_before_it_was_killed_are_told(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    ended, running = launches.script("exit 3"), launches.script(STAY)
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([running, ended])
        await told.exit_of(ended.key)
        await ready(running)
        kill_runner(engine)
    engine = make_engine()
    await engine.recover(places(ended, running))
    async with engine_told.running(engine) as told:
        assert (await told.exit_of(ended.key)).exit_code == 3
        assert isinstance(await told.end_of(running.key), port.Lost)


async def test_the_engine_is_not_healthy_without_a_runner(make_engine: MakeEngine) -> None:
    engine = make_engine()
    assert not engine.healthy()
    async with engine_told.running(engine):
        await engine_told.eventually(engine.healthy)
        kill_runner(engine)
        await engine_told.eventually(lambda: not engine.healthy())
        await engine_told.eventually(engine.healthy)
    assert not engine.healthy()


async def test_attempts_submitted_without_a_runner_are_started_when_there_is_one(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    started, cancelled = launches.acting(), launches.acting()
    engine = make_engine()
    await engine.submit_many([started, cancelled])
    await engine.cancel_many([cancelled.key])
    async with engine_told.running(engine) as told:
        assert (await told.exit_of(started.key)).exit_code == 0
        assert (await told.exit_of(cancelled.key)).cause is port.Cause.CANCELLED
    assert engine_launches.runs_of(cancelled) == 0


async def test_a_runner_that_is_told_to_stop_ends_its_attempts_as_lost(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await ready(launch)
        assert engine.runner_pid is not None
        os.kill(engine.runner_pid, signal.SIGTERM)
        end = await told.end_of(launch.key)
    assert isinstance(end, port.Lost)
    assert end.reason == "the runner was told to stop"


async def test_a_report_that_failed_is_made_again(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.acting()
    engine = make_engine()

    async def refuse(facts: Sequence[port.Fact]) -> None:
        raise ConnectionError(len(facts))

    await engine.submit_many([launch])
    with pytest.raises(ExceptionGroup):
        await engine.run(refuse)
    async with engine_told.running(engine) as told:
        await told.exit_of(launch.key)
        assert [type(fact) for fact in told.of(launch.key)] == [port.Started, port.Exited]
    assert engine_launches.runs_of(launch) == 1


async def test_two_engines_of_one_folder_share_a_runner(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(STAY)
    first, second = make_engine(), make_engine()
    async with engine_told.running(first) as told, engine_told.running(second) as told_too:
        await engine_told.eventually(lambda: first.healthy() and second.healthy())
        assert first.runner_pid == second.runner_pid
        await first.submit_many([launch])
        await second.submit_many([launch])
        await told_too.start_of(launch.key)
        let_go(launch)
        assert await told.exit_of(launch.key) == await told_too.exit_of(launch.key)


async def test_a_hangup_of_the_runner_ends_nothing(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch, other = launches.script(STAY), launches.script("kill -HUP $$; sleep 600")
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await ready(launch)
        runner_pid = engine.runner_pid
        assert runner_pid is not None
        os.kill(runner_pid, signal.SIGHUP)
        # Methods do not inherit that.
        await engine.submit_many([other])
        assert (await told.exit_of(other.key)).signal == signal.SIGHUP
        assert engine.runner_pid == runner_pid
        let_go(launch)
        assert (await told.exit_of(launch.key)).exit_code == 0


async def test_a_method_that_removes_its_folder_and_kills_the_runner_is_not_started_again(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    launch = launches.script(
        """
        echo run >> "$METHOD_DIR/runs"
        until [ -e "$METHOD_DIR/go" ]; do sleep 0.01; done
        rm -rf "${JOB_WORKSPACE%/workspace}"
        kill -9 $PPID
        sleep 600
        """
    )
    engine = make_engine()
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await told.start_of(launch.key)
        let_go(launch)
        end = await told.end_of(launch.key)
        assert not engine_leavings.processes_of(launch.folder)
    assert isinstance(end, port.Lost)
    assert engine_launches.runs_of(launch) == 1


async def _start_and_leave(engine: LocalEngine, launch: port.Launch) -> int:
    """Start the attempt, wait until it stands, and let the server die; return the runner's pid."""
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        await told.start_of(launch.key)
        await ready(launch)
        assert engine.runner_pid is not None
        return engine.runner_pid
