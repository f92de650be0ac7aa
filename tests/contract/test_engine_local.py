"""The local engine, with and without control groups: the port's promises, and contract 1."""

import pathlib
from collections.abc import Iterator

import pytest

from contract import engine_process_suite, engine_suite
from dshpc_server.engine import port
from dshpc_server.engine.local.engine import LocalEngine
from support import component, engine_leavings, engine_told

CAPACITY = port.Capacity(cpus=2, memory_bytes=2**32, gpus=0)


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: pathlib.Path) -> Iterator[None]:
    yield
    assert not engine_leavings.await_none(tmp_path)
    assert not engine_leavings.groups_of(tmp_path / "engine")


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
