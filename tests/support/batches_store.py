"""A store that does not answer for a while."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from dshpc_server import errors
from dshpc_server.store.port import Commit, Store, Writer


class WaveringStore:
    """Passes everything on to a store, except for the writes it refuses."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._refusals = 0
        self._lock = threading.Lock()
        self.refused = 0
        """How many writes were refused."""

    def refuse(self, writes: int) -> None:
        """Refuse the next writes, so many of them."""
        with self._lock:
            self._refusals = writes

    def write(self, works: Sequence[Callable[[Writer], Any]]) -> Commit[Any]:
        with self._lock:
            if self._refusals:
                self._refusals -= 1
                self.refused += 1
                raise errors.UnavailableError("the store is away", retry_after_seconds=0.01)
        return self._store.write(works)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def as_store(self) -> Store:
        return cast("Store", self)
