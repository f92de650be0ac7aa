"""Real Slurm does what the engine, and the fake, take it to do: the suite of both."""

import pytest

from contract import slurm_cluster_suite
from dshpc_server.engine.slurm import command_line
from support.slurm_cluster import SlurmCluster
from support.slurm_fixtures import slurm_cluster

__all__ = ["slurm_cluster"]


class TestRealSlurm(slurm_cluster_suite.SlurmClusterSuite):
    @pytest.fixture
    def cluster(self, slurm_cluster: SlurmCluster) -> command_line.CommandLine:
        return command_line.CommandLine(environment=slurm_cluster.environment)
