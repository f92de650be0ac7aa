"""Fixtures of the store's own tests."""

import pathlib
from collections.abc import Iterator

import pytest

from dshpc_server.store.sql.store import SqlStore


@pytest.fixture
def sql_store(tmp_path: pathlib.Path) -> Iterator[SqlStore]:
    store = SqlStore.open(tmp_path / "store.db")
    yield store
    store.close()
