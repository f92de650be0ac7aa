"""The fake Slurm keeps to what real Slurm does: the suite of both, by the server's own commands."""

import pathlib
from collections.abc import Iterator

import pytest

from contract import slurm_cluster_suite
from dshpc_server.engine.slurm import command_line
from support import fake_slurm


class TestTheFake(slurm_cluster_suite.SlurmClusterSuite):
    @pytest.fixture
    def cluster(self, tmp_path: pathlib.Path) -> Iterator[command_line.CommandLine]:
        with fake_slurm.running(tmp_path / "slurm") as fake:
            yield command_line.CommandLine(environment=fake.environment)
