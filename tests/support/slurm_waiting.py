"""Waits for what a Slurm engine's commands and wrappers have done, and tells it in short.

Nothing announces these facts, so they are asked for again and again, with a deadline.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Collection, Sequence

from dshpc_server.engine import port
from support import engine_launches, engine_told, fake_slurm

STAY = """
    echo run >> "$METHOD_DIR/runs"
    touch "$JOB_WORKSPACE/ready"
    until [ -e "$METHOD_DIR/go" ]; do sleep 0.05; done
    echo done
"""
"""Runs until it is let go; several of them share the machine with a cluster."""


async def polled(fake: fake_slurm.FakeSlurm, times: int = 2) -> None:
    """Wait until squeue was called so often from now on; of two calls one began after now."""
    before = fake.polls
    await engine_told.eventually(lambda: fake.polls >= before + times)


async def queued(fake: fake_slurm.FakeSlurm, count: int) -> None:
    """Wait until so many tasks wait in the queue."""
    await engine_told.eventually(lambda: len(in_state(fake, "PENDING")) == count)


@contextlib.asynccontextmanager
async def held(
    fake: fake_slurm.FakeSlurm, engine: port.Engine, *launches: port.Launch
) -> AsyncIterator[engine_told.Told]:
    """Run an engine that has a task in the queue for each of these; nothing is started there."""
    fake.hold()
    async with engine_told.running(engine) as told:
        await engine.submit_many(launches)
        await queued(fake, len(launches))
        yield told


async def failing(engine: port.Engine) -> None:
    """Wait until the engine has noticed that the controller does not answer."""
    await engine_told.eventually(lambda: not engine.healthy())


async def answering(engine: port.Engine) -> None:
    """Wait until the controller has answered."""
    await engine_told.eventually(engine.healthy)


def in_state(fake: fake_slurm.FakeSlurm, state: str) -> list[fake_slurm.Task]:
    """The tasks that the controller knows to be in this state."""
    return [task for task in fake.tasks if task.state == state]


def running_pid(fake: fake_slurm.FakeSlurm) -> int:
    """The process of the one task that runs."""
    (task,) = in_state(fake, "RUNNING")
    assert task.pid is not None
    return task.pid


def calls_of(fake: fake_slurm.FakeSlurm, program: str) -> list[list[str]]:
    """The command lines of one program."""
    return [call for call in fake.calls if call[0] == program]


def jobs_of(told: engine_told.Told) -> dict[str, int]:
    """How many ends of each kind were told."""
    kinds = [type(fact).__name__ for fact in told.facts if isinstance(fact, engine_told.End)]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def runs(*launches: port.Launch) -> list[int]:
    """How often each of these methods was started."""
    return [engine_launches.runs_of(launch) for launch in launches]


def task_id(launch: port.Launch) -> str:
    """Slurm's id of the task in which an attempt was started."""
    found = json.loads((launch.folder / "start").read_text())["slurm_job_id"]
    assert isinstance(found, str)
    return found


def array_folder(launch: port.Launch) -> str:
    """The name of the array that an attempt was put into."""
    found = json.loads((launch.folder / "task.json").read_text())["array"]
    assert isinstance(found, str)
    return found


@contextlib.asynccontextmanager
async def lying(fake: fake_slurm.FakeSlurm, kind: str) -> AsyncIterator[None]:
    """Have squeue lie for the length of the block."""
    fake.lie(kind)
    try:
        yield
    finally:
        fake.lie("")


async def all_run_once(told: engine_told.Told, *launches: port.Launch) -> None:
    """Wait until these have ended well, each after one run."""
    assert exits([await told.end_of(launch.key) for launch in launches]) == [0] * len(launches)
    assert runs(*launches) == [1] * len(launches)


def exits(ends: Collection[engine_told.End]) -> Sequence[int | None]:
    """The exit codes of these, all of which have run."""
    found = []
    for end in ends:
        assert isinstance(end, port.Exited), end
        found.append(end.exit_code)
    return found
