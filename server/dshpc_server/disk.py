"""What a disk says of a path: something is there, nothing is there, or nothing at all. And folders.

Promise: "unknown" is never "absent". Nothing is there only if the file system says so (ENOENT,
ENOTDIR). Any other failure to tell - a device that fails, a server of files that does not answer, a
handle that is stale, a right that is missing - is NoAnswerError: it says nothing about what was
asked for, and passes when somebody mends it. No path is told.
"""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from dshpc_server import errors

RETRY_AFTER_SECONDS = 5.0
"""Advice for who asked: a remote file system that was cut off is mostly back by then."""
ABSENT = (FileNotFoundError, NotADirectoryError)
PASSING = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EREMOTEIO,
    }
)
"""What the machine is short of for the moment, and a remote file system that is cut off: they say
nothing about a file that a job has left, which may be read yet."""


@contextlib.contextmanager
def asked() -> Iterator[None]:
    """While asking or reading: what is not there passes, any other failure is NoAnswerError."""
    try:
        yield
    except ABSENT:
        raise
    except OSError as error:
        raise no_answer(error.strerror) from error


def status(path: str | pathlib.Path, *, follow: bool = False) -> os.stat_result | None:
    """What is at this path; None when nothing is. A link is itself, unless it is to be followed."""
    # No context manager: 10,000 in a row would take twice as long.
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - a Path for each is dear
    except ABSENT:
        return None
    except OSError as error:
        raise no_answer(error.strerror) from error


def fsync_folder(folder: pathlib.Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: pathlib.Path, mode: int = 0o777) -> None:
    """Make a folder, durably, and those above it; none that is there already is looked after."""
    try:
        folder.mkdir(mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(mode, exist_ok=True)
    try:
        fsync_folder(folder.parent)
    except OSError:
        folder.rmdir()  # so that the next one to make it does that durably
        raise


def no_answer(why: str | None) -> errors.NoAnswerError:
    """Return what is said of a disk that did not answer."""
    return errors.NoAnswerError(
        f"the disk does not answer: {why}", retry_after_seconds=RETRY_AFTER_SECONDS
    )
