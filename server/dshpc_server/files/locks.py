"""Locks on files: whoever works on a file holds it, whichever process or host it is of.

Promises: a lock holds between threads, processes, and hosts that share the file system (flock); it
goes with the process that has it, however that ends; nobody ever waits for one. A file is replaced
or removed only by who holds it, and who has got hold of it has the one that is under its name.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITABLE_MODE = 0o600


def take(path: pathlib.Path) -> int | None:
    """Open a file for writing and hold it; None when it is held, FileNotFoundError without it."""
    descriptor = _open(path)
    if descriptor is None or hold(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def taken(path: pathlib.Path) -> Iterator[int | None]:
    """Hold a file for as long as the context lasts; see `take`."""
    descriptor = take(path)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            let_go(descriptor)
            os.close(descriptor)


def hold(descriptor: int, path: pathlib.Path) -> bool:
    """Hold an open file that was opened as this path; False when it is held, or not there now."""
    if not _flock(descriptor, fcntl.LOCK_EX):
        return False
    try:
        is_there = os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        is_there = False
    if not is_there:
        let_go(descriptor)
    return is_there


def let_go(descriptor: int) -> None:
    """Hold it no more. Closing does that too, but for a child that is just being made."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _open(path: pathlib.Path) -> int | None:
    # For writing: on NFS only such a file can be locked against all others.
    try:
        return os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:
        return os.open(path, os.O_RDWR | _FLAGS) if _make_writable(path) else None


def _make_writable(path: pathlib.Path) -> bool:
    """Of a file that is read-only because it was finished, unless somebody is publishing it."""
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        if not _flock(descriptor, fcntl.LOCK_SH):
            return False
        os.fchmod(descriptor, _WRITABLE_MODE)
    finally:
        os.close(descriptor)
    return True


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
