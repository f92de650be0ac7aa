"""Folders whose names last."""

import errno
import os
import pathlib

# The file system cannot link this file, or may not.
NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


def fsync(folder: pathlib.Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make(folder: pathlib.Path) -> None:
    """Make a folder, durably, unless it is there; on failure it is not."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    try:
        fsync(folder.parent)
    except OSError:
        folder.rmdir()
        raise


def name(path: pathlib.Path, new: pathlib.Path) -> bool:
    """Give a file a new name unless that is taken; whether it was free.

    The old name is left to be removed, or is gone where a file can have but one.
    """
    try:
        os.link(path, new, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        if os.path.lexists(new):
            return False
        path.rename(new)
    return True
