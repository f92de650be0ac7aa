"""Read a file that a job left behind, trusting nothing about it.

Promise: no link is followed, no FIFO waited for, and not more is read than is allowed. What cannot
be read is OutputRefusedError, but for what the machine is short of for the moment (OSError).
"""

import contextlib
import errno
import hashlib
import os
import pathlib
import stat
from collections.abc import Callable, Iterator

from dshpc_server import disk
from dshpc_server import errors as base_errors
from dshpc_server.files import errors, folders

_PIECE_BYTES = 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A symbolic link, a socket.
_UNFIT = frozenset({errno.ELOOP, errno.ENXIO})


def open_regular(path: pathlib.Path) -> int:
    """Open a regular file for reading; return its descriptor."""
    try:
        with reading():
            descriptor = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise base_errors.NotFoundError("output", path.name) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise errors.OutputRefusedError("the output is not a regular file")
    return descriptor


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Tell what the disk does not give back from what can be tried again, or is not there."""
    try:
        yield
    except OSError as error:
        if error.errno in disk.PASSING or isinstance(error, FileNotFoundError):
            raise
        if error.errno in _UNFIT:
            raise errors.OutputRefusedError("the output is not a regular file") from error
        raise errors.OutputRefusedError(
            f"the output could not be read: {error.strerror}"
        ) from error


def measure(descriptor: int, max_bytes: int | None, check: Callable[[], None]) -> tuple[str, int]:
    """Return the hash and the size of an open file; `check` is called between its pieces."""
    size_bytes = os.fstat(descriptor).st_size
    if max_bytes is not None and size_bytes > max_bytes:
        raise base_errors.LimitExceededError(
            "output_size_bytes", maximum=max_bytes, actual=size_bytes
        )
    digest = hashlib.sha256()
    read_bytes = 0
    for piece in pieces(descriptor):
        check()
        digest.update(piece)
        read_bytes += len(piece)
        if read_bytes > size_bytes:
            break
    if read_bytes != size_bytes:
        raise errors.OutputRefusedError("the output changed while it was read")
    return digest.hexdigest(), size_bytes


def pieces(descriptor: int) -> Iterator[bytes]:
    """Read an open file from its beginning."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    while True:
        with reading():
            piece = os.read(descriptor, _PIECE_BYTES)
        if not piece:
            return
        yield piece


def link(path: pathlib.Path, descriptor: int, name: pathlib.Path) -> bool:
    """Give the open file that was at `path` a second name; return whether that was possible."""
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in folders.NO_LINK:
            return False
        raise
    if os.path.samestat(os.fstat(descriptor), os.lstat(name)):
        return True
    # Somebody put another file in its place; what was hashed is still open.
    name.unlink()
    return False
