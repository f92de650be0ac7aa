"""Presence: a lock that a server holds while it lives, so that others see its death at once.

    FOLDER/SERVER_ID.lock      locked by its server (flock); removed at a clean end
    FOLDER/.new-SERVER_ID      the same, for the moment before it is locked and has its name

Promises: a server is said to be gone only if its lock could be taken, which the kernel gives away
when the last of its process is gone, however that died. A lock file has its name only once it is
locked, so nobody is taken for dead while he begins. A file that is missing, or that cannot be
looked at, proves nothing. What the dead left, in the middle of beginning too, is cleared by others.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Collection

from dshpc_server.files import locks

_SUFFIX = ".lock"
_NEW_PREFIX = ".new-"


class Presence:
    """The locks of the servers that share a data folder. Every method blocks, for a moment."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._held: tuple[str, int] | None = None

    def hold(self, server_id: str) -> None:
        """Be present as this server, and as no other any more. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._folder / f"{_NEW_PREFIX}{server_id}"
        while (descriptor := _new_lock(new)) is None:
            pass  # somebody who clears up has come in between; that is over with the next try
        try:
            new.rename(self._path(server_id))
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        self.release()
        self._held = server_id, descriptor

    def release(self) -> None:
        """Be present no more; idempotent."""
        if self._held is None:
            return
        server_id, descriptor = self._held
        self._held = None
        with contextlib.suppress(OSError):  # on a disk that fails the lock goes all the same
            self._path(server_id).unlink(missing_ok=True)
        os.close(descriptor)

    def gone(self, server_ids: Collection[str]) -> set[str]:
        """Those of these servers whose process is certainly gone."""
        return {each for each in server_ids if _is_free(self._path(each), remove=False)}

    def clear(self, living: Collection[str]) -> None:
        """Remove what servers left behind that are gone, but for those named."""
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                is_new = path.name.startswith(_NEW_PREFIX)
                is_dead = path.suffix == _SUFFIX and path.stem not in living
                if is_new or is_dead:
                    _is_free(path, remove=True)

    def _path(self, server_id: str) -> pathlib.Path:
        return self._folder / f"{server_id}{_SUFFIX}"


def _new_lock(path: pathlib.Path) -> int | None:
    """Make a file and lock it; None when that was taken for what somebody dead has left."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if locks.hold(descriptor, path):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_free(path: pathlib.Path, *, remove: bool) -> bool:
    """Whether a lock file is there that nobody holds; then it may be removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # By another open file our own lock is not given to us either.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
