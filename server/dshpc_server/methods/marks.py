"""Whether a script folder is as it was, told without reading its files.

Promise: two equal marks of one folder, the first of them settled, mean that no file or folder in it
was written, added, removed, renamed or given other rights in between. The kernel sets an entry's
change time (ctime) whenever that happens, and no program can set it back. What it cannot tell apart
are two changes within one tick of its clock, and writes through a memory map, whose time may be
taken before the last of them: so a mark is settled only when all that it saw was long over.
"""

import dataclasses
import datetime
import hashlib
import os
import pathlib
import struct
from collections.abc import Iterator

from dshpc_server.methods import tree

SETTLED_SECONDS = 60.0
"""Longer than a tick of any file system's clock (2 s at the most), and than the 35 s within which
Linux writes a mapped page back and so sees the next write to it."""
_FIELDS = struct.Struct("<qqQQQQ")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What a folder looked like from outside."""

    digest: bytes
    """Over every entry's path, times, size, inode, device and mode."""
    changed_at: float
    """The newest change time in it, in seconds since the epoch."""

    def is_settled(self, now: datetime.datetime) -> bool:
        """Whether nothing changed shortly before `now`, which is when the mark was begun.

        A change time in the future is of a clock that was set back, and tells nothing.
        """
        return self.changed_at < now.timestamp() - SETTLED_SECONDS


def of(folder: pathlib.Path) -> Mark | None:
    """Mark a script folder and all that counts of it; None if it cannot be looked at."""
    digest = hashlib.sha256()
    changed_at_ns = 0
    try:
        for path, status in sorted(_entries(os.fsencode(folder)), key=lambda entry: entry[0]):
            changed_at_ns = max(changed_at_ns, status.st_ctime_ns)
            digest.update(path + b"\0" + _packed(status))
    except OSError:
        return None
    return Mark(digest=digest.digest(), changed_at=changed_at_ns / 1e9)


def _entries(folder: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    yield folder, os.lstat(folder)
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name == os.fsencode(tree.SKIPPED):
                        continue
                    folders.append(entry.path)
                yield entry.path, entry.stat(follow_symlinks=False)


def _packed(status: os.stat_result) -> bytes:
    return _FIELDS.pack(
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_dev,
        status.st_mode,
    )
