"""Fixtures of the local engine's tests: engines over one folder, and nothing left when they end.

A module imports the fixtures it uses, and those that they use.
"""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from dshpc_server.engine.local.engine import LocalEngine
from support import engine_launches, engine_leavings, engine_staying

MakeEngine = Callable[[], LocalEngine]


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: pathlib.Path) -> Iterator[None]:
    """When a test is over, no process and no control group of its engines is left."""
    yield
    assert not engine_leavings.await_none(tmp_path)
    assert not engine_leavings.groups_of(tmp_path / "engine")


@pytest.fixture(params=["auto", "none"])
def make_engine(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> MakeEngine:
    """Returns a server's engine; every one is over the same folder."""
    return lambda: LocalEngine(
        tmp_path / "engine", capacity=engine_staying.CAPACITY, confinement=str(request.param)
    )


@pytest.fixture
def launches(tmp_path: pathlib.Path) -> engine_launches.Launches:
    """Makes methods and their launches."""
    return engine_launches.Launches(tmp_path / "site")
