"""Fixtures of tests that need a Slurm cluster.

A module or a conftest.py imports the fixtures it uses, and those that they use.
"""

from collections.abc import Iterator

import pytest

from support import slurm_cluster as clusters
from support.slurm_cluster import SlurmCluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A cluster of 4 nodes with 16 processors each that no test breaks."""
    with clusters.running() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mortal_slurm_cluster() -> Iterator[SlurmCluster]:
    """Another one, for a module whose tests stop and kill parts of it."""
    with clusters.running() as cluster:
        yield cluster
