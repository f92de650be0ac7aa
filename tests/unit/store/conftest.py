"""Fixtures of the store's own tests."""

import pathlib
from collections.abc import Iterator

import pytest

from dshpc_server.store.sql.store import SqlStore
from support import store_look


@pytest.fixture
def sql_store(tmp_path: pathlib.Path) -> Iterator[SqlStore]:
    (tmp_path / "store.db").write_bytes(store_look.empty_store())
    store = SqlStore.open(tmp_path / "store.db")
    yield store
    store.close()
