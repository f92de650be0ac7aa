"""Ends that Slurm makes: what is told when somebody other than the service ends a task.

An exit record counts before Slurm's word; Slurm's word counts where the record cannot know why.
"""

import json
import os
import signal

import pytest

from dshpc_server.engine import port
from dshpc_server.engine.slurm import facts
from support import engine_launches, engine_told, fake_slurm, slurm_waiting
from support.engine_staying import let_go, places, ready, started
from support.slurm_engine_fixtures import MakeEngine, fake, launches, make_engine, nothing_is_left
from support.slurm_waiting import STAY

__all__ = ["fake", "launches", "make_engine", "nothing_is_left"]


@pytest.mark.parametrize(
    ("state", "cause", "note"),
    [
        ("TIMEOUT", port.Cause.OVER_TIME, ""),
        ("PREEMPTED", port.Cause.PREEMPTED, ""),
        ("DEADLINE", port.Cause.PAST_DEADLINE, ""),
        ("CANCELLED", port.Cause.CANCELLED, facts.OUTSIDE),
        # Nobody asks its wrapper first: it leaves no record.
        ("OUT_OF_MEMORY", port.Cause.OVER_MEMORY, "Slurm: OUT_OF_MEMORY (OutOfMemory)"),
    ],
)
async def test_what_slurm_ends_while_it_runs_has_the_cause_that_slurm_tells(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    state: str,
    cause: port.Cause,
    note: str,
) -> None:
    launch, other, engine = launches.script(STAY), launches.script(STAY), make_engine()
    async with started(engine, launch, other) as told:
        start = await told.start_of(launch.key)
        fake.end(start.engine_job_id, state)
        end = await told.exit_of(launch.key)
        let_go(other)
        assert (await told.exit_of(other.key)).exit_code == 0
    assert (end.cause, end.note) == (cause, note)
    assert (end.exit_code, end.signal) == (None, signal.SIGKILL)
    assert (end.started_at, end.engine_job_id) == (start.at, start.engine_job_id)
    assert end.node == start.node
    assert slurm_waiting.runs(launch, other) == [1, 1]


@pytest.mark.parametrize(
    ("state", "kind", "reason"),
    [
        ("BOOT_FAIL", port.NotStarted, "Slurm: BOOT_FAIL (NodeDown)"),
        ("NODE_FAIL", port.Lost, "it was never started; Slurm: NODE_FAIL (NodeDown)"),
        ("TIMEOUT", port.Lost, "it was never started; Slurm: TIMEOUT (TimeLimit)"),
        ("PREEMPTED", port.Lost, "it was never started; Slurm: PREEMPTED"),
        ("DEADLINE", port.Lost, "it was never started; Slurm: DEADLINE (DeadLine)"),
        ("FAILED", port.Lost, "it was never started; Slurm: FAILED (NonZeroExitCode)"),
    ],
)
async def test_what_slurm_ends_before_it_runs_was_never_started_and_never_is(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    state: str,
    kind: type,
    reason: str,
) -> None:
    launch, other, engine = launches.acting(), launches.acting(), make_engine()
    async with slurm_waiting.held(fake, engine, launch, other) as told:
        (submission,) = fake.submissions
        fake.end(f"{submission.id}_0", state)
        end = await told.end_of(launch.key)
        assert isinstance(end, port.NotStarted | port.Lost)
        assert (type(end), end.reason) == (kind, reason)
        assert (launch.folder / "start").exists()
        fake.release()
        assert (await told.exit_of(other.key)).exit_code == 0
    assert slurm_waiting.runs(launch, other) == [0, 1]


async def test_what_a_node_cannot_start_for_want_of_the_folder_another_may(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.acting(), make_engine()
    async with slurm_waiting.held(fake, engine, launch) as told:
        launch.method_dir.rename(launch.method_dir.with_name("elsewhere"))
        fake.release()
        end = await told.end_of(launch.key)
    assert isinstance(end, port.NotStarted)
    assert end.reason == "the folder of the method is not there"
    assert not end.is_permanent


# A controller that was started lately might have forgotten a task of which it keeps no record.
@pytest.mark.parametrize("fake", [{"up_seconds": 3600.0}], indirect=True)
@pytest.mark.parametrize("others", [0, 2])
async def test_what_is_cancelled_in_slurm_before_it_runs_is_told_as_cancelled_there(
    make_engine: MakeEngine,
    fake: fake_slurm.FakeSlurm,
    launches: engine_launches.Launches,
    others: int,
) -> None:
    launch, rest = launches.acting(), [launches.acting() for _ in range(others)]
    async with slurm_waiting.held(fake, make_engine(), launch, *rest) as told:
        (submission,) = fake.submissions
        fake.end(f"{submission.id}_0", "CANCELLED")
        end = await told.exit_of(launch.key)
        fake.release()
        await slurm_waiting.all_run_once(told, *rest)
    assert (end.cause, end.note, end.signal) == (port.Cause.CANCELLED, facts.OUTSIDE, 9)
    assert slurm_waiting.runs(launch) == [0]


async def test_on_a_node_that_failed_it_is_lost_and_the_late_end_counts_for_nothing(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.script(STAY), make_engine()
    async with started(engine, launch) as told:
        start = await told.start_of(launch.key)
        fake.end(start.engine_job_id, "NODE_FAIL")
        lost = await told.end_of(launch.key)
        assert isinstance(lost, port.Lost)
        assert lost.reason == "Slurm: NODE_FAIL (NodeDown)"
        let_go(launch)
        await engine_told.eventually((launch.folder / "exit").exists)
        later = launches.acting()
        await engine.submit_many([later])
        assert (await told.exit_of(later.key)).exit_code == 0
        assert told.of(launch.key) == [start, lost]
    assert slurm_waiting.runs(launch) == [1]


async def test_one_that_is_told_to_stop_on_a_node_that_failed_is_lost_as_well(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.script(STAY), make_engine()
    async with started(engine, launch) as told:
        start = await told.start_of(launch.key)
        pid = slurm_waiting.running_pid(fake)
        fake.end(start.engine_job_id, "NODE_FAIL")
        os.kill(pid, signal.SIGTERM)  # a slurmd that comes back ends what it finds
        await engine_told.eventually((launch.folder / "exit").exists)
        assert json.loads((launch.folder / "exit").read_text())["cause"] == "TERMINATED"
        assert isinstance(await told.end_of(launch.key), port.Lost)


async def test_a_wrapper_that_is_killed_leaves_no_record_and_the_attempt_is_lost(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine = launches.script(STAY), make_engine()
    async with started(engine, launch) as told:
        pid = slurm_waiting.running_pid(fake)
        os.kill(pid, signal.SIGKILL)
        lost = await told.end_of(launch.key)
        let_go(launch)
    assert isinstance(lost, port.Lost)
    assert lost.reason.startswith("Slurm: FAILED")


async def test_what_is_suspended_and_goes_on_is_told_in_order_and_ends_as_ever(
    make_engine: MakeEngine, fake: fake_slurm.FakeSlurm, launches: engine_launches.Launches
) -> None:
    launch, engine, other = launches.script(STAY), make_engine(), make_engine()
    async with engine_told.running(engine) as told, engine_told.running(other) as told_too:
        await engine.submit_many([launch])
        await ready(launch)
        start = await told.start_of(launch.key)
        fake.suspend(start.engine_job_id)
        await engine_told.eventually(lambda: len(told.of(launch.key)) == 2)
        # Who takes it up now is told that it stands still, too.
        await other.recover(places(launch))
        await engine_told.eventually(lambda: len(told_too.of(launch.key)) == 2)
        let_go(launch)
        await slurm_waiting.polled(fake, 3)
        assert not told.ends(launch.key)
        fake.resume(start.engine_job_id)
        assert (await told.exit_of(launch.key)).exit_code == 0
        await told_too.exit_of(launch.key)
    kinds = [type(fact) for fact in told.of(launch.key)]
    assert kinds[:2] == [port.Started, port.Suspended]
    assert kinds[2:] in ([port.Resumed, port.Exited], [port.Exited])
    assert [type(fact) for fact in told_too.of(launch.key)][:2] == [port.Started, port.Suspended]
    assert slurm_waiting.runs(launch) == [1]
