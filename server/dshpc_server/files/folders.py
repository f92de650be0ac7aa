"""Folders whose names last."""

import errno
import os
import pathlib

from dshpc_server import disk

# The file system cannot link this file, or may not.
NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


class Lasting:
    """Makes folders below a root, and knows which are there to last. Any thread may call.

    One that is there may have been made a moment ago, by another server or by one that died before
    its name was durable; so each is looked after once, which costs 40 us where it is long past.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._known: set[str] = set()

    def make(self, folder: pathlib.Path) -> None:
        """Make a folder, durably, unless it is there to last; on failure it is not made."""
        name = str(folder.relative_to(self._root))  # there may be 65,536 of them
        is_new = _mkdir(folder)
        if not is_new and name in self._known:
            return
        try:
            disk.fsync_folder(folder.parent)
        except OSError:
            if is_new:
                folder.rmdir()
            raise
        self._known.add(name)


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
        try:
            new.lstat()
        except FileNotFoundError:
            path.rename(new)
        else:
            return False
    return True


def _mkdir(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
