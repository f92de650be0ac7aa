"""A small file system that a test fills and frees: a tmpfs, gone when the context ends."""

import contextlib
import errno
import os
import pathlib
import subprocess
from collections.abc import Iterator

from support import component

_PIECE_BYTES = 64 * 1024


class Disk:
    """A mounted file system."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def free_bytes(self) -> int:
        """How much room there is."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def fill(self, *, but_bytes: int = 0) -> None:
        """Take all the room there is, but so much."""
        with self._filler.open("ab", buffering=0) as file:
            while (room := self.free_bytes - but_bytes) > 0:
                try:
                    file.write(bytes(min(room, _PIECE_BYTES)))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)


@contextlib.contextmanager
def small(folder: pathlib.Path, size_bytes: int) -> Iterator[Disk]:
    """Mount one at a new folder; skipped by name where nothing may be mounted."""
    folder.mkdir()
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", folder)
    component.require("mount", present=mounted)
    try:
        yield Disk(folder)
    finally:
        is_free = _run("umount", folder)
        if not is_free:  # so that at least nobody finds it any more
            _run("umount", "--lazy", folder)
        folder.rmdir()
        assert is_free, f"{folder} is still in use"


def _run(*words: str | pathlib.Path) -> bool:
    try:
        done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
