"""The Slurm engine over pretended Slurm commands: the port's promises, and contract 1."""

import pathlib

import pytest

from contract import engine_process_suite, engine_suite
from dshpc_server.engine.slurm.engine import SlurmEngine
from support import fake_slurm, slurm_engines
from support.slurm_engine_fixtures import fake, nothing_is_left

__all__ = ["fake", "nothing_is_left"]


class TestOverPretendedCommands(engine_suite.EngineSuite, engine_process_suite.EngineProcessSuite):
    @pytest.fixture
    def engine(self, tmp_path: pathlib.Path, fake: fake_slurm.FakeSlurm) -> SlurmEngine:
        return slurm_engines.make(tmp_path / "engine", fake.environment)
