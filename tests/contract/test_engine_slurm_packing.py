"""Packed tasks of Slurm: each job of a task has its own result, limits and fate."""

import dataclasses
import os
import signal

import pytest

from dshpc_server.domain.job import Basis, Packing, RunTime
from dshpc_server.engine import port
from dshpc_server.engine.slurm import arrays
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, places, ready
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]

SHORT = RunTime(seconds=0.1, basis=Basis.DECLARED)
POLICY = arrays.Policy(pack_below_seconds=5.0, pack_jobs=4, parallel=1)
"""Four jobs become one task."""


async def test_each_job_of_a_task_has_its_own_result(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    scripts = ["echo one", "echo two >&2; exit 3", "kill -9 $$", "sleep 600"]
    many = [
        launches.script(
            f'echo run >> "$METHOD_DIR/runs"; {text}', run_time=SHORT, timeout_seconds=2
        )
        for text in scripts
    ]
    engine = make_engine(policy=POLICY)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        ends = [await told.exit_of(one.key) for one in many]
    assert [(end.exit_code, end.signal, end.cause) for end in ends] == [
        (0, None, port.Cause.NONE),
        (3, None, port.Cause.NONE),
        (None, signal.SIGKILL, port.Cause.NONE),
        (None, signal.SIGKILL, port.Cause.OVER_TIME),
    ]
    assert [end.stdout.read_text() for end in ends] == ["one\n", "", "", ""]
    assert [end.stderr.read_text() for end in ends[:2]] == ["", "two\n"]
    assert {end.packing for end in ends} == {Packing(jobs=4, basis=Basis.DECLARED)}
    assert len({end.engine_job_id for end in ends}) == 1
    assert [one.tasks for one in fake.submissions] == [1]
    assert slurm_waiting.runs(*many) == [1] * 4
    starts = [told.starts(one.key)[0].at for one in many]
    assert starts == sorted(starts)


async def test_jobs_of_different_priority_share_no_task_and_slurm_is_told_which_go_first(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many = [
        dataclasses.replace(launches.script("exit 0", run_time=SHORT), priority=priority)
        for priority in (0, -100, 100, 0)
    ]
    engine = make_engine(policy=POLICY)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        ends = [await told.exit_of(one.key) for one in many]
    assert [end.packing and end.packing.jobs for end in ends] == [2, None, None, 2]
    assert len({end.engine_job_id for end in ends}) == 3
    told_nice = [
        word for call in slurm_waiting.calls_of(fake, "sbatch") for word in call if "nice" in word
    ]
    assert told_nice == ["--nice=0", "--nice=100", "--nice=200"]


async def test_a_packed_job_that_cannot_be_started_is_told_so_and_the_others_run(
    make_engine: MakeEngine, launches: engine_launches.Launches
) -> None:
    many = [
        launches.script("exit 5", run_time=SHORT, command=[command])
        for command in ("bash", "no-such-command", "bash", "bash")
    ]
    engine = make_engine(policy=POLICY)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        ends = [await told.end_of(one.key) for one in many]
    refused = ends.pop(1)
    assert isinstance(refused, port.NotStarted)
    assert (refused.reason, refused.is_permanent) == ("command not found: no-such-command", True)
    assert slurm_waiting.exits(ends) == [5, 5, 5]


@pytest.mark.parametrize("position", [0, 2])
async def test_a_job_of_a_task_that_waits_is_cancelled_at_once_and_the_others_run_when_it_does(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    position: int,
) -> None:
    many = [launches.script('echo run >> "$METHOD_DIR/runs"', run_time=SHORT) for _ in range(4)]
    engine = make_engine(policy=POLICY)
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        await slurm_waiting.queued(fake, 1)
        cancelled = many.pop(position)
        await engine.cancel_many([cancelled.key])
        end = await told.exit_of(cancelled.key)
        assert (end.cause, end.signal, end.note) == (port.Cause.CANCELLED, signal.SIGKILL, "")
        # Only it was: its task waits on, for the others.
        await slurm_waiting.queued(fake, 1)
        assert not slurm_waiting.calls_of(fake, "scancel")
        fake.release()
        await slurm_waiting.all_run_once(told, *many)
        assert told.ends(cancelled.key) == [end]
    assert slurm_waiting.runs(cancelled) == [0]


@pytest.mark.parametrize("state", ["TIMEOUT", "PREEMPTED"])
async def test_of_a_task_that_slurm_ends_the_rest_is_lost_and_never_starts(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    state: str,
) -> None:
    many = [launches.script(STAY, run_time=SHORT) for _ in range(4)]
    engine = make_engine(policy=POLICY)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        let_go(many[0])
        await ready(many[1])
        fake.end(slurm_waiting.task_id(many[1]), state)
        assert (await told.exit_of(many[0].key)).exit_code == 0
        end = await told.end_of(many[1].key)
        if state == "TIMEOUT":
            # The time of them all was up, and not its own.
            assert isinstance(end, port.Lost)
            assert end.reason == "Slurm: TIMEOUT (TimeLimit)"
        else:
            assert isinstance(end, port.Exited)
            assert (end.signal, end.cause) == (signal.SIGKILL, port.Cause.PREEMPTED)
        for launch in many[2:]:
            lost = await told.end_of(launch.key)
            assert isinstance(lost, port.Lost)
            assert lost.reason.startswith(f"it was never started; Slurm: {state}")
    assert slurm_waiting.runs(*many) == [1, 1, 0, 0]


async def test_of_a_task_whose_wrapper_is_killed_what_had_ended_counts_and_the_rest_is_lost(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many = [launches.script(STAY, run_time=SHORT) for _ in range(4)]
    engine = make_engine(policy=POLICY)
    async with engine_told.running(engine) as told:
        await engine.submit_many(many)
        let_go(many[0])
        assert (await told.exit_of(many[0].key)).exit_code == 0
        await ready(many[1])
        pid = slurm_waiting.running_pid(fake)
        os.kill(pid, signal.SIGKILL)
        ends = [await told.end_of(one.key) for one in many[1:]]
        let_go(*many)
    assert {type(end) for end in ends} == {port.Lost}
    assert slurm_waiting.runs(*many) == [1, 1, 0, 0]


async def test_packed_jobs_are_taken_over_each_where_it_stands(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    many = [launches.script(STAY, run_time=SHORT) for _ in range(4)]
    first, other = make_engine(policy=POLICY), make_engine()
    async with engine_told.running(first) as told:
        await first.submit_many(many)
        let_go(many[0])
        await told.exit_of(many[0].key)
        await ready(many[1])
    async with engine_told.running(other) as told:
        await other.recover(places(*many))
        assert (await told.exit_of(many[0].key)).exit_code == 0
        await told.start_of(many[1].key)
        await slurm_waiting.polled(fake)
        assert not told.facts[3:]
        let_go(*many)
        ends = [await told.exit_of(one.key) for one in many]
    assert slurm_waiting.exits(ends) == [0] * 4
    assert {end.packing for end in ends} == {Packing(jobs=4, basis=Basis.DECLARED)}
    assert slurm_waiting.runs(*many) == [1] * 4
