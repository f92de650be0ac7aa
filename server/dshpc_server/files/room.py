"""Room on disk: how much is left to be written to, and what is said when it cannot be written.

Promises: a disk that is full or that fails is a NoRoomError, which is no fault of what was to be
written and passes when somebody makes room; nothing that is said names a path.
"""

import asyncio
import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from dshpc_server import clock, errors, outage

# A disk is made room on by people or by retention, neither of which is quick.
RETRY_AFTER_SECONDS = 30.0
NO_ROOM = "there is no room on disk"
LOOK_SECONDS = 1.0
"""Between two looks; one takes 2 us, and a hop to a thread."""
SILENT_SECONDS = 10.0
"""A disk that has not answered for so long hangs."""
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
_SYSTEM_CLOCK = clock.SystemClock()


class Room:
    """The room on the disk that a folder lies on, of which some is never to be used up.

    A remote file system may hang whoever asks it. So the event loop goes by the last look
    (`has_room`), which one task that calls `run` has made lately; a thread may look for itself
    (`check`). The log is told when too little is left, and when it is enough again.
    """

    def __init__(
        self, folder: pathlib.Path, min_free_bytes: int, clock: clock.Clock = _SYSTEM_CLOCK
    ) -> None:
        """Leave `min_free_bytes` to what cannot wait: the store, the outputs of what runs."""
        self._outage = outage.Outage(clock, begins="room.short", ends="room.enough")
        self._clock = clock
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._asked_at: float | None = None
        """Since when an answer is waited for; None: it is not."""
        self._free_bytes = self._look()

    def has_room(self) -> bool:
        """Whether enough was left a moment ago; asks no disk. Never of one that fails or hangs."""
        asked_at = self._asked_at
        if asked_at is not None and self._clock.monotonic() - asked_at >= SILENT_SECONDS:
            self._outage.failed("the disk does not answer")
            return False
        return self._is_enough(self._free_bytes)

    def check(self, needed_bytes: int = 0) -> None:
        """Look, and raise NoRoomError unless so much can be written and enough is left."""
        self._free_bytes = self._look()
        if not self._is_enough(self._free_bytes, needed_bytes):
            raise errors.NoRoomError(NO_ROOM, retry_after_seconds=RETRY_AFTER_SECONDS)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._asked_at = self._clock.monotonic()
            self._free_bytes = await asyncio.to_thread(self._look)
            self._asked_at = None
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> int | None:
        """Return how much is free, and tell the log; None when the disk fails."""
        try:
            disk = os.statvfs(self._folder)
        except OSError as error:
            self._outage.failed(f"the disk does not answer: {error.strerror}")
            return None
        free_bytes = disk.f_bavail * disk.f_frsize
        if self._is_enough(free_bytes):
            self._outage.works(free_bytes=free_bytes)
        else:
            least = self._min_free_bytes
            self._outage.failed(NO_ROOM, free_bytes=free_bytes, min_free_bytes=least)
        return free_bytes

    def _is_enough(self, free_bytes: int | None, needed_bytes: int = 0) -> bool:
        return free_bytes is not None and free_bytes - needed_bytes >= self._min_free_bytes


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
