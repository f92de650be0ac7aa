"""The content store beside its records: bytes on disk, and what the store says of them.

Nothing is opened for writing, no link is followed. Content is hashed in a few threads; hashing
leaves the interpreter to the others. What cannot be read is not said to be gone or damaged.
"""

import concurrent.futures
import dataclasses
import datetime
import errno
import hashlib
import os
import pathlib
import stat
from collections.abc import Collection, Iterator, Sequence

from dshpc_server import clock, disk, errors
from dshpc_server.checking import looks
from dshpc_server.checking.findings import Counts, Finding
from dshpc_server.domain import identity
from dshpc_server.files import stored
from dshpc_server.store.inspection import Inspection, Rule

_TOGETHER = 500
_PIECE_BYTES = 1024 * 1024
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A link, a socket: what is no file, and was not stored by us.
_NO_FILE = (errno.ELOOP, errno.ENXIO)
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

THERE = Rule(name="content_is_there", broken="it is recorded, and its content is gone")
HASH = Rule(name="content_is_its_hash", broken="its bytes are not those it is named by")
SIZE = Rule(name="size_is_recorded", broken="its recorded size is another")
RECORDED = Rule(
    name="content_is_recorded",
    broken="nothing is recorded of this content; retention does not see it",
    is_note=True,
)
READ_ONLY = Rule(name="content_is_read_only", broken="its content may be written to", is_note=True)
PLACE = Rule(
    name="content_has_its_place", broken="it lies among the content and is none", is_note=True
)
UPLOAD = Rule(
    name="upload_is_recent", broken="it is left of an upload that nobody goes on with", is_note=True
)


class Records:
    """Everything that is recorded is there."""

    rules = looks.by_name(THERE, looks.SILENT)

    def __init__(self, store: Inspection, root: pathlib.Path) -> None:
        self._store = store
        self._stored = stored.Stored(root)

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        return looks.pages(self._store.file_hashes, _TOGETHER)

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        recorded = self._store.files(names).values()
        there, unknown = looked_for(self._stored, {each.file_hash for each in recorded})
        gone = [
            each.file_hash
            for each in recorded
            if not each.is_deleting and each.file_hash not in there | unknown
        ]
        # An output that lies in a result is written to disk when somebody wants it there.
        held = self._store.find_outputs(gone) if gone else set()
        return [
            *((name, looks.silent(("file", name))) for name in sorted(unknown)),
            *((name, _about(THERE, name)) for name in gone if name not in held),
        ]


def looked_for(content: stored.Stored, file_hashes: Collection[str]) -> tuple[set[str], set[str]]:
    """Which of these are there, and of which the disk does not tell; the others are gone."""
    there, unknown = set(), set()
    for file_hash in file_hashes:
        try:
            if content.has(file_hash):
                there.add(file_hash)
        except errors.NoAnswerError:
            unknown.add(file_hash)
    if len(there) + len(unknown) < len(file_hashes):
        content.check_there()
    return there, unknown


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """What lies on disk under a hash."""

    file_hash: str
    is_whole: bool
    is_writable: bool
    size_bytes: int


class Content:
    """Everything that lies there is what it is named by, and recorded."""

    rules = looks.by_name(HASH, SIZE, RECORDED, READ_ONLY, PLACE, looks.SILENT)

    def __init__(
        self,
        store: Inspection,
        root: pathlib.Path,
        *,
        threads: concurrent.futures.Executor,
        counts: Counts,
    ) -> None:
        self._store = store
        self._root = root
        self._threads = threads
        self._counts = counts

    def pages(self) -> Iterator[Sequence[str]]:
        """Name all that lies there, by its path; see `looks.Look`."""
        page = []
        for path in _walk(self._root, ""):
            page.append(path)
            self._counts.file()
            if len(page) == _TOGETHER:
                yield page
                page = []
        yield page

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        found: list[looks.Found] = []
        measured: dict[str, _Measured] = {}
        for path, each in zip(names, self._threads.map(self._measure, names), strict=True):
            if isinstance(each, Rule):
                found.append((path, _at(each, path)))
            elif each is not None:
                measured[path] = each
        recorded = self._store.files([each.file_hash for each in measured.values()])
        absent = [each.file_hash for each in measured.values() if each.file_hash not in recorded]
        held = self._store.find_outputs(absent) if absent else set()
        for path, each in measured.items():
            record = recorded.get(each.file_hash)
            rules = []
            if not each.is_whole:
                rules = [HASH]
            elif record is None:
                rules = [] if each.file_hash in held else [RECORDED]
            elif record.size_bytes != each.size_bytes and not record.is_deleting:
                rules = [SIZE]
            if each.is_writable:
                rules.append(READ_ONLY)
            found += [(path, _about(rule, each.file_hash)) for rule in rules]
        return found

    def _measure(self, path: str) -> _Measured | Rule | None:
        """Hash what lies there; None when it is gone."""
        try:
            return self._measured(path)
        except disk.ABSENT:
            return None
        except OSError as error:
            return PLACE if error.errno in _NO_FILE else looks.SILENT

    def _measured(self, path: str) -> _Measured | Rule | None:
        name = path.rpartition("/")[2]
        if not name:  # a folder that could not be listed
            with os.scandir(self._root / path):
                return None
        if not identity.is_hash(name) or path != f"{name[:2]}/{name[2:4]}/{name}":
            (self._root / path).lstat()
            return PLACE
        descriptor = os.open(self._root / path, _OPEN)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return PLACE
            is_whole, size_bytes = self._is_whole(file.fileno(), name)
        return _Measured(
            file_hash=name,
            is_whole=is_whole,
            is_writable=bool(status.st_mode & _WRITABLE),
            size_bytes=size_bytes,
        )

    def _is_whole(self, descriptor: int, name: str) -> tuple[bool, int]:
        digest, size_bytes = hashlib.sha256(), 0
        while piece := os.read(descriptor, _PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            self._counts.hashed(len(piece))
        return digest.hexdigest() == name, size_bytes


class Uploads:
    """What came of uploads that were cut goes after a while."""

    rules = looks.by_name(UPLOAD, looks.SILENT)

    def __init__(
        self, root: pathlib.Path, *, clock: clock.Clock, max_age: datetime.timedelta
    ) -> None:
        self._root = root
        self._clock = clock
        self._max_age = max_age

    def pages(self) -> Iterator[Sequence[str]]:
        """See `looks.Look`."""
        # Few: the uploads of a day.
        try:
            names = os.listdir(self._root / stored.COMING)  # noqa: PTH208 - of names alone
        except disk.ABSENT:
            names = []
        yield sorted(f"{stored.COMING}/{name}" for name in names)

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        """See `looks.Look`."""
        before = (self._clock.now() - self._max_age).timestamp()
        found = []
        for path in names:
            try:
                status = disk.status(self._root / path)
            except errors.NoAnswerError:
                found.append((path, _at(looks.SILENT, path)))
                continue
            if status is not None and status.st_mtime < before:
                found.append((path, _at(UPLOAD, path)))
        return found


def _at(rule: Rule, path: str) -> Finding:
    return Finding(rule=rule, which=(("path", f"files/{path}"),))


def _about(rule: Rule, file_hash: str) -> Finding:
    return Finding(rule=rule, which=(("file", file_hash),))


def _walk(root: pathlib.Path, folder: str) -> Iterator[str]:
    """Yield the path of everything in the two levels of folders, in order, and of what is not.

    Of a folder that cannot be listed its own, with "/" at the end.
    """
    try:
        with os.scandir(root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except disk.ABSENT:
        return
    except OSError:
        yield folder or "./"
        return
    depth = folder.count("/")
    for entry in found:
        is_level = depth < 2 and len(entry.name) == 2 and entry.is_dir(follow_symlinks=False)
        if is_level:
            yield from _walk(root, f"{folder}{entry.name}/")
        elif folder or entry.name != stored.COMING:
            yield folder + entry.name
