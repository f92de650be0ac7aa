"""The Slurm engine on a real cluster: the port's promises, and contract 1."""

import pathlib

import pytest

from contract import engine_process_suite, engine_suite
from dshpc_server.engine.slurm.engine import SlurmEngine
from support import slurm_cluster, slurm_engines
from support.slurm_engine_fixtures import cluster, nothing_is_left

__all__ = ["cluster", "nothing_is_left"]


class TestOnACluster(engine_suite.EngineSuite, engine_process_suite.EngineProcessSuite):
    @pytest.fixture
    def engine(self, tmp_path: pathlib.Path, cluster: slurm_cluster.SlurmCluster) -> SlurmEngine:
        return slurm_engines.make(tmp_path / "engine", cluster.environment)
