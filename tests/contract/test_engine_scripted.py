"""The scripted engine keeps the port's promises, so tests that use it can be believed."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from contract import engine_suite
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from support import engine_scripted


class ActingEngine(engine_scripted.ScriptedEngine):
    """Tells the facts that the launches of `engine_launches.acting` would lead to."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        super().__init__()
        self._tasks = tasks

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        fresh = {launch.key: launch for launch in launches if launch.key not in self.launches}
        await super().submit_many(launches)
        for launch in fresh.values():
            self._tasks.create_task(self._act(launch))

    async def _act(self, launch: port.Launch) -> None:
        act = json.loads(launch.parameters_json)
        with (launch.method_dir / "runs").open("a") as runs:
            runs.write("run\n")
        await self.started(launch.key)
        sleep_seconds = act.get("sleep_seconds", 0)
        cause = port.Cause.NONE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(sleep_seconds, launch.timeout_seconds)):
                await self.cancel_asked(launch.key)
                cause = port.Cause.CANCELLED
        if cause is port.Cause.NONE and sleep_seconds > launch.timeout_seconds:
            cause = port.Cause.OVER_TIME
        await self.exited(
            launch.key,
            act.get("exit_code", 0),
            signal=act.get("signal") if cause is port.Cause.NONE else signal.SIGKILL,
            cause=cause,
            stdout=act.get("stdout", "").encode(),
            stderr=act.get("stderr", "").encode(),
        )


class TestScriptedEngine(engine_suite.EngineSuite):
    @pytest.fixture
    async def engine(self) -> AsyncIterator[ActingEngine]:
        async with asyncio.TaskGroup() as tasks:
            yield ActingEngine(tasks)


async def test_a_fact_waits_until_the_engine_runs() -> None:
    engine = engine_scripted.ScriptedEngine()
    told: list[port.Fact] = []

    async def report(facts: Sequence[port.Fact]) -> None:
        told.extend(facts)

    key = AttemptKey(job_id="a" * 64, number=1)
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(engine.lost(key, "gone"))
        serving = tasks.create_task(engine.run(report))
        await telling
        serving.cancel()
    assert [(fact.key, fact.reason) for fact in told if isinstance(fact, port.Lost)] == [
        (key, "gone")
    ]
