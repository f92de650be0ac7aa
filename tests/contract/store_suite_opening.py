"""How the suite's tests open the store, and other servers on it."""

import abc
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import pytest

from dshpc_server.store.port import Store
from dshpc_server.store.sql.store import SqlStore
from support import store_servers

OpenStore: TypeAlias = Callable[[], Store]


class OpenServer(Protocol):
    """Opens another server on the store of the test."""

    def __call__(self, scope: str = "here") -> SqlStore:
        """Join as a server whose attempts can be accounted for there."""
        ...


class Opened(abc.ABC):
    """The fixtures of every test in the suite."""

    @pytest.fixture
    @abc.abstractmethod
    def open_store(self) -> OpenStore:
        """Opens the one store of the test; it is empty at first, and keeps what was written."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[Store]:
        opened = open_store()
        yield opened
        opened.close()

    @pytest.fixture
    def open_server(self, store: Store) -> OpenServer:
        # Each has a lease, whatever the database.
        assert isinstance(store, SqlStore)
        return lambda scope="here": store_servers.beside(store, scope=scope)
