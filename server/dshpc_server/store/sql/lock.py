"""A lock file: one server at a time for a store that is for one server.

The kernel gives the lock back when its holder is gone, however it went. The file itself stays:
removing it would let two servers hold two files of one name.
"""

import fcntl
import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

from dshpc_server.store.port import StoreInUseError


@contextmanager
def held(path: pathlib.Path, *, store: str) -> Iterator[None]:
    """Hold the lock at `path`; raises StoreInUseError at once when another one does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreInUseError(store) from error
        yield
    finally:
        os.close(descriptor)
