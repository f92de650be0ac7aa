"""Fixtures of tests that need a Slurm cluster; a module imports those it uses."""

from collections.abc import Iterator

import pytest

from support import slurm_cluster as clusters
from support.slurm_cluster import SlurmCluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A cluster of 4 nodes with 16 processors each that no test breaks."""
    with clusters.running() as cluster:
        yield cluster
