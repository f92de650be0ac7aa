"""Room on disk: how much is left to be written to, and what is said when it cannot be written.

Promises: a disk that is full or that fails is a NoRoomError, which is no fault of what was to be
written and passes when somebody makes room; nothing that is said names a path.
"""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from dshpc_server import errors

# A disk is made room on by people or by retention, neither of which is quick.
RETRY_AFTER_SECONDS = 30.0
NO_ROOM = "there is no room on disk"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Of the device, the file system on it or the way to it; not of what was asked of them.
_FAILING = frozenset(
    {
        errno.EIO,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOMEDIUM,
        errno.EREMOTEIO,
        errno.EUCLEAN,
        errno.EBADMSG,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
    }
)


class Room:
    """The room on the disk that a folder lies on, of which some is never to be used up.

    Any thread may ask, and the event loop too: one system call of 2 us, as long as the file system
    is not a remote one that hangs.
    """

    def __init__(self, folder: pathlib.Path, min_free_bytes: int) -> None:
        """Leave `min_free_bytes` to what cannot wait: the store, the outputs of what runs."""
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def has_room(self, needed_bytes: int = 0) -> bool:
        """Whether so much can be written and enough is left; never of a disk that fails."""
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize - needed_bytes >= self._min_free_bytes

    def check(self, needed_bytes: int = 0) -> None:
        """Raise NoRoomError unless there is room for so much."""
        if not self.has_room(needed_bytes):
            raise errors.NoRoomError(NO_ROOM, retry_after_seconds=RETRY_AFTER_SECONDS)


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """While writing: turn a disk that is full or that fails into NoRoomError; other errors pass."""
    try:
        yield
    except OSError as error:
        if not (is_full(error) or error.errno in _FAILING):
            raise
        reason = NO_ROOM if is_full(error) else f"the disk does not take it: {error.strerror}"
        raise errors.NoRoomError(reason, retry_after_seconds=RETRY_AFTER_SECONDS) from error


def is_full(error: OSError) -> bool:
    """Whether this is for want of room alone: what was written before is whole."""
    return error.errno in _FULL
