"""Fixtures of tests that need a Slurm cluster; a module imports those it uses."""

import pytest

from support import shared
from support import slurm_cluster as clusters
from support.slurm_cluster import SlurmCluster

_CLUSTER = pytest.StashKey[SlurmCluster]()


@pytest.fixture(scope="session")
def slurm_cluster(pytestconfig: pytest.Config) -> SlurmCluster:
    """A cluster of 4 nodes with 16 processors each that no test breaks."""
    return shared.entered(pytestconfig, _CLUSTER, clusters.running)
