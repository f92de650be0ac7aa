"""A store and a data folder that belong to no deployment yet, as fixtures of their tests.

A module imports the fixtures it uses.
"""

import pathlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from dshpc_server.store.sql.store import SqlStore
from support import batches_store


@pytest.fixture
def data_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that no server has used."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[SqlStore]:
    """A new store, elsewhere."""
    with closing(batches_store.opened(tmp_path / "store.db")) as opened:
        yield opened


def written(data_dir: pathlib.Path) -> dict[str, str]:
    """The files of ids, and what is in them."""
    return {path.name: path.read_text() for path in data_dir.iterdir() if "deployment" in path.name}
