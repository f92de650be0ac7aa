"""Fixtures of the tests of uploads: where content is kept, and what is known of it."""

import pathlib
from collections.abc import AsyncIterator

import pytest

from dshpc_server.files import content
from dshpc_server.store import committer
from support import batches_store


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(tmp_path / "files")


@pytest.fixture
async def writing(tmp_path: pathlib.Path) -> AsyncIterator[committer.Committer]:
    store = batches_store.opened(tmp_path / "store.db")
    async with committer.Committer(store, on_changes=lambda _: None) as made:
        yield made
    store.close()
