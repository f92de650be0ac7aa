"""What is stored: content under its hash, read-only, in two levels of folders (ROOT/ab/cd/abcd…).

Promises: a name appears when its content is whole and durable, and whoever stores what is there
already is told so when that lasts. The same content placed twice at one time, by one server or by
two, is stored once, and both succeed. What is not a hash never becomes a path. Content is absent
only if the disk says so (`dshpc_server.disk`); where it does not answer, NoAnswerError.
"""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import stat
import threading
from collections.abc import Collection, Iterator

from dshpc_server import crashing, disk
from dshpc_server.domain import identity
from dshpc_server.files import folders

COMING = "incoming"
"""The folder of what is coming, beside the content."""
_LEVEL_CHARACTERS = 2
# One lock for each first byte of a hash, so that what is placed at one time rarely waits.
_LOCKS = 256


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What stored content takes of the disk, and since when."""

    file_hash: str
    size_bytes: int
    modified_at: datetime.datetime
    """When it was last written to, which for an output is before it was stored."""


class Stored:
    """The folder of content. Any thread may call."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._root_text = str(root)
        self._levels = folders.Lasting(root)
        # Between threads alone: two servers that place one content are no danger to each other.
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def path(self, file_hash: str) -> pathlib.Path:
        """Where this content is, or would be."""
        middle = 2 * _LEVEL_CHARACTERS
        first, second = file_hash[:_LEVEL_CHARACTERS], file_hash[_LEVEL_CHARACTERS:middle]
        return self._root / first / second / file_hash

    def has(self, file_hash: str) -> bool:
        """Whether this is a hash and there is content under it."""
        if not identity.is_hash(file_hash):
            return False
        # Asked 100,000 times in a row: a Path for each would take 1 s instead of 0.3 s.
        path = f"{self._root_text}/{file_hash[:2]}/{file_hash[2:4]}/{file_hash}"
        found = disk.status(path, follow=True)
        return found is not None and stat.S_ISREG(found.st_mode)

    def missing(self, file_hashes: Collection[str]) -> list[str]:
        """Which of these are not stored: in the order asked, each once."""
        absent = [each for each in dict.fromkeys(file_hashes) if not self.has(each)]
        if absent:
            self.check_there()
        return absent

    def check_there(self) -> None:
        """Raise NoAnswerError where everything would seem to be absent.

        A file system that is not mounted leaves an empty folder, or none, in its place.
        """
        # Where a server has been, but not where a backup without empty folders was put back.
        if disk.status(self._root / COMING) is not None:
            return
        try:
            with os.scandir(self._root) as entries:
                is_empty = next(entries, None) is None
        except OSError as error:
            raise disk.no_answer(error.strerror) from error
        if is_empty:
            raise disk.no_answer("nothing is mounted there")

    def is_durable(self, file_hash: str, size_bytes: int) -> bool:
        """Whether this content is there to last; makes sure of it."""
        with self._lock(file_hash):
            return self._is_durable(self.path(file_hash), size_bytes)

    def place(self, path: pathlib.Path, file_hash: str, size_bytes: int) -> bool:
        """Give finished, durable content its name; whether it was there before.

        The old name is gone, or left to be removed. On failure nothing has changed.
        """
        final = self.path(file_hash)
        with self._lock(file_hash):
            if self._is_durable(final, size_bytes):
                return True
            crashing.point("content.written")
            self._levels.make(final.parent.parent)
            self._levels.make(final.parent)
            is_second_name = folders.name(path, final)
            if not is_second_name:
                if self._is_durable(final, size_bytes):
                    return True
                path.rename(final)  # over a file that is damaged
            crashing.point("content.renamed")
            try:
                disk.fsync_folder(final.parent)
            except OSError:
                # Not known to be durable, so not to be found either.
                _take_back(final, path)
                raise
            crashing.point("content.published")
        return False

    def remove(self, file_hashes: Collection[str]) -> list[str]:
        """Remove content, durably; return what of it there was. Many at once share the fsyncs."""
        removed, changed = [], set()
        for file_hash in dict.fromkeys(file_hashes):
            path = self.path(file_hash)
            with contextlib.suppress(*disk.ABSENT):
                with self._lock(file_hash):
                    path.unlink()
                removed.append(file_hash)
                changed.add(path.parent)
        for folder in changed:
            disk.fsync_folder(folder)
        return removed

    def walk(self) -> Iterator[str]:
        """Every hash that is stored, in order."""
        for entry in self._entries():
            yield entry.name

    def usage(self) -> Iterator[Usage]:
        """What is stored, with its size and age, in the order of the hashes."""
        for entry in self._entries():
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                status = entry.stat(follow_symlinks=False)
                yield Usage(
                    file_hash=entry.name,
                    size_bytes=status.st_size,
                    modified_at=datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC),
                )

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        level = "[0-9a-f]" * _LEVEL_CHARACTERS
        for first in sorted(self._root.glob(level)):
            for second in sorted(first.glob(level)):
                with os.scandir(second) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
                start = first.name + second.name
                yield from (
                    each for each in found if identity.is_hash(each.name) and each.name[:4] == start
                )

    def _lock(self, file_hash: str) -> threading.Lock:
        return self._locks[int(file_hash[:_LEVEL_CHARACTERS], 16)]

    def _is_durable(self, final: pathlib.Path, size_bytes: int) -> bool:
        # The size betrays a file that lost its end, and costs nothing: such a one is replaced.
        try:
            status = final.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
            return False
        # Another server may have given it its name at this moment: 40 us where that is long past.
        disk.fsync_folder(final.parent)
        return True


def _take_back(final: pathlib.Path, path: pathlib.Path) -> None:
    # Renaming one name of a file to another of the same file would do nothing.
    try:
        path.lstat()
    except FileNotFoundError:
        final.rename(path)
    else:
        final.unlink(missing_ok=True)
