"""The local engine, with and without control groups: the port's promises, and contract 1."""

import pathlib

import pytest

from contract import engine_process_suite, engine_suite
from dshpc_server.engine.local.engine import LocalEngine
from support import component, engine_told
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
