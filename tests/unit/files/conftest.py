"""Fixtures of the content store's own tests."""

import pathlib

import pytest

from dshpc_server.files import content
from support import files_stored


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "content"


@pytest.fixture
def store(root: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(root)


@pytest.fixture
def produced(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return the output of a job."""
    path = tmp_path / "stdout"
    path.write_bytes(files_stored.DATA)
    return path
