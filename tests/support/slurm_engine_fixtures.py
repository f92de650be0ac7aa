"""Fixtures of the Slurm engine's tests: clusters, and nothing left when a test ends.

A module imports the fixtures it uses, and those that they use.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from dshpc_server.engine.slurm.engine import SlurmEngine
from support import engine_launches, engine_leavings, fake_slurm, slurm_cluster, slurm_engines


class MakeEngine(Protocol):
    """Makes the engine of a server; every one is over the same folder and cluster."""

    def __call__(self, **options: Any) -> SlurmEngine:  # noqa: ANN401 - those of slurm_engines.make
        """Those that are not given are as `slurm_engines.make` has them."""
        ...


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: pathlib.Path) -> Iterator[None]:
    """When a test is over, no process of its methods is left."""
    yield
    assert not engine_leavings.await_none(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm_cluster.SlurmCluster]:
    """A real cluster, for tests that do it no harm."""
    with slurm_cluster.running() as made:
        yield made


@pytest.fixture
def fake(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[fake_slurm.FakeSlurm]:
    """Pretended commands over a controller of their own; a parameter holds settings of it."""
    with fake_slurm.running(
        tmp_path_factory.mktemp("slurm"), **getattr(request, "param", {})
    ) as made:
        yield made


@pytest.fixture
def launches(tmp_path: pathlib.Path) -> engine_launches.Launches:
    """Makes methods and their launches."""
    return engine_launches.Launches(tmp_path / "site")


@pytest.fixture
def make_engine(tmp_path: pathlib.Path, fake: fake_slurm.FakeSlurm) -> MakeEngine:
    """Returns a server's engine over the pretended commands."""

    def make(**options: Any) -> SlurmEngine:  # noqa: ANN401 - those of slurm_engines.make
        return slurm_engines.make(tmp_path / "engine", fake.environment, **options)

    return make
