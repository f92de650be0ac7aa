"""Fixtures of the checks' own tests: data in which all is right, a copy for each test."""

import pathlib
import shutil

import pytest

from support import checked_site
from support.checked_site import Site


@pytest.fixture(scope="session")
def right_site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The data that the others are copies of; nobody changes it."""
    folder = tmp_path_factory.mktemp("checked")
    (folder / "data").mkdir()
    checked_site.fill(Site(folder / "data"), folder)
    return folder / "data"


@pytest.fixture
def made(right_site: pathlib.Path, tmp_path: pathlib.Path) -> Site:
    """Data in which all is right."""
    shutil.copytree(right_site, tmp_path / "data")
    made = Site(tmp_path / "data")
    made.clock.advance(3600)
    return made


@pytest.fixture
def right_store(right_site: pathlib.Path, tmp_path: pathlib.Path) -> Site:
    """The same, of which the store alone is a copy."""
    shutil.copy(right_site / "dshpc.sqlite", tmp_path)
    return Site(right_site, tmp_path / "dshpc.sqlite")
