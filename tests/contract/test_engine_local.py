"""The local engine, with and without control groups: the port's promises, and contract 1."""

import pathlib

import pytest

from contract import engine_process_suite, engine_suite
from dshpc_server.engine import port
from dshpc_server.engine.local.engine import LocalEngine
from support import component, engine_launches, engine_told
from support.engine_local_fixtures import nothing_is_left
from support.engine_staying import CAPACITY

__all__ = ["nothing_is_left"]


class LocalSuites(engine_suite.EngineSuite, engine_process_suite.EngineProcessSuite):
    confinement: str

    @pytest.fixture
    def engine(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
        monkeypatch.setenv("DSHPC_SECRET", "canary")
        return LocalEngine(tmp_path / "engine", capacity=CAPACITY, confinement=self.confinement)


class TestWithTheBestConfinement(LocalSuites):
    confinement = "auto"

    async def test_control_groups_hold_trees_and_limit_memory(self, engine: LocalEngine) -> None:
        async with engine_told.running(engine):
            await engine_told.eventually(engine.healthy)
            tree, memory = engine.confinement.split()
        component.require("cgroups", present=tree == "tree=cgroup-v2")
        assert memory in {"memory=cgroup-v1", "memory=cgroup-v2", "memory=polled"}


class TestWithoutControlGroups(LocalSuites):
    confinement = "none"

    async def test_it_says_so(self, engine: LocalEngine) -> None:
        async with engine_told.running(engine):
            await engine_told.eventually(engine.healthy)
            assert engine.confinement == "tree=scan memory=polled"


async def test_an_exit_tells_what_the_attempt_used(tmp_path: pathlib.Path) -> None:
    launches = engine_launches.Launches(tmp_path / "site")
    busy = launches.python("""
        import os
        held = bytearray(256 * 2**20)
        if os.fork() == 0:
            while os.times().user < 0.1:
                pass
            os._exit(0)
        os.wait()
        while os.times().user < 0.2:
            pass
    """)
    small = launches.script("exit 3")
    engine = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    async with engine_told.running(engine) as told:
        await engine.submit_many([busy, small])
        used = (await told.exit_of(busy.key)).usage
        assert used.cpu_seconds is not None
        assert used.peak_memory_bytes is not None
        # A child that was waited for counts, too.
        assert used.cpu_seconds >= 0.29
        assert 256 * 2**20 <= used.peak_memory_bytes < 512 * 2**20
        assert used.queue_seconds is None
        # It held less than the runner that spawned it, and cannot be told apart from it.
        least = (await told.exit_of(small.key)).usage
        assert least.cpu_seconds is not None
        assert least.peak_memory_bytes is None
    again = LocalEngine(tmp_path / "engine", capacity=CAPACITY)
    await again.recover([(busy.key, busy.folder)])
    async with engine_told.running(again) as told:
        assert (await told.exit_of(busy.key)).usage == used
        assert again.waiting(busy.key) == port.Waiting()
