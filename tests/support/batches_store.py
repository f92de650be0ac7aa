"""Stores of tests: one that is opened in no time, and one that does not answer for a while."""

import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from dshpc_server import errors
from dshpc_server.domain import queue
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import Claim, Claims, Commit
from dshpc_server.store.sql.store import SqlStore
from support import store_look, store_values


def opened(path: pathlib.Path) -> SqlStore:
    """A store in this file; a new one is a copy, which takes a tenth of making its tables."""
    if not path.exists():
        path.write_bytes(store_look.empty_store())
    return SqlStore.open(path)


class WaveringStore:
    """Passes everything on to a store, except for the writes it refuses or answers wrongly."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._refusals = 0
        self._passes = 0
        self._losses = 0
        self._repeats = 0
        self._lock = threading.Lock()
        self.refused = 0
        """How many writes were refused."""
        self.lost = 0
        """How many were made and said to have failed."""

    def refuse(self, writes: int) -> None:
        """Refuse the next writes, so many of them."""
        with self._lock:
            self._refusals = writes

    def lose(self, writes: int, *, after: int = 0) -> None:
        """Make the next writes, so many after so many, and say that they failed."""
        with self._lock:
            self._passes, self._losses = after, writes

    def repeat(self, writes: int) -> None:
        """Run the works of the next writes twice, the first time in vain."""
        with self._lock:
            self._repeats = writes

    def write(self, works: Sequence[Callable[[Writer], Any]]) -> Commit[Any]:
        with self._lock:
            if self._refusals:
                self._refusals -= 1
                self.refused += 1
                raise _away()
            if self._repeats:
                self._repeats -= 1
                works = [_twice(work) for work in works]
            commit = self._store.write(works)
            if self._passes:
                self._passes -= 1
            elif self._losses:
                self._losses -= 1
                self.lost += 1
                raise _away()
        return commit

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def as_store(self) -> Store:
        return cast("Store", self)


def _away() -> errors.UnavailableError:
    return errors.UnavailableError("the store is away", retry_after_seconds=0.01)


def _twice(work: Callable[[Writer], Any]) -> Callable[[Writer], Any]:
    """Do a work for a writer that takes nothing in, then again, as after a conflict."""

    def doing(writer: Writer) -> Any:  # noqa: ANN401 - whatever the work answers
        work(cast("Writer", _Asking(writer)))
        return work(writer)

    return doing


class _Asking:
    """A writer of a transaction that comes to nothing: whoever claims is asked, no more."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def claim(self, judge: Callable[[Claim], Verdict], limit: int, ageing: queue.Ageing) -> Claims:
        for _ in range(limit):
            judge(store_values.claim())
        return Claims(taken=[], next_due_seconds=None, ageing=ageing)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_, **__: []
