"""Presence: a lock that a server holds while it lives, so that others see its death at once.

    FOLDER/SERVER_ID.lock      locked by its server (flock); removed at a clean end

Promises: a server is said to be gone only if its lock could be taken, which the kernel gives away
when the last of its process is gone, however that died. A lock file has its name only once it is
locked, so nobody is taken for dead while he begins. A file that is missing, or that cannot be
looked at, proves nothing.
"""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Collection

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
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._path(server_id))
        except BaseException:
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
        return {server_id for server_id in server_ids if self._is_gone(server_id, remove=False)}

    def clear(self, living: Collection[str]) -> None:
        """Remove what servers left behind that are gone, but for those named."""
        with contextlib.suppress(OSError):
            for path in list(self._folder.glob(f"*{_SUFFIX}")):
                server_id = path.name.removesuffix(_SUFFIX)
                if server_id not in living:
                    self._is_gone(server_id, remove=True)

    def _is_gone(self, server_id: str, *, remove: bool) -> bool:
        path = self._path(server_id)
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

    def _path(self, server_id: str) -> pathlib.Path:
        return self._folder / f"{server_id}{_SUFFIX}"
