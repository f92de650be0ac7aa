"""The content store: bytes on disk under their SHA-256.

    ROOT/ab/cd/abcd…      content, read-only, two levels of folders
    ROOT/incoming/        what is coming, on the same file system; see `files.incoming`

Promises: content is visible only when it is whole, has the hash it is named by, and is durable
(written, fsynced, renamed, the folder fsynced). A call that fails leaves nothing visible, and
nothing behind but what an upload can be gone on with. Every method may be called from any thread;
the same content stored twice at one time is stored once, and both succeed. What is not a hash never
becomes a path. Without room on disk, UnavailableError. The root belongs to one server.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import os
import pathlib
import stat
import threading
from collections.abc import Collection, Iterator
from typing import BinaryIO

from dshpc_server import errors as base_errors
from dshpc_server.domain import identity
from dshpc_server.files import errors, folders, incoming, output, partial, receipt, room

_LEVEL_CHARACTERS = 2
# One lock for each first byte of a hash, so that what is published at one time rarely waits.
_LOCKS = 256


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredContent:
    """Content that is in the store."""

    file_hash: str
    size_bytes: int


class ContentStore:
    """Files and outputs alike, by hash."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root.absolute()
        self._root_text = str(self._root)
        coming = self._root / "incoming"
        coming.mkdir(parents=True, exist_ok=True)
        folders.fsync(self._root.parent)
        folders.fsync(self._root)
        self._incoming = incoming.Incoming(coming, self._is_stored)
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def find(self, file_hash: str) -> pathlib.Path | None:
        """Where this content is; None when it is not stored, or this is no hash."""
        return self._path(file_hash) if self._is_stored(file_hash) else None

    def missing(self, file_hashes: Collection[str]) -> list[str]:
        """Which of these are not stored: in the order asked, each once."""
        return [each for each in dict.fromkeys(file_hashes) if not self._is_stored(each)]

    def open(self, file_hash: str) -> BinaryIO:
        """Open content for reading; NotFoundError when it is not stored."""
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        try:
            return self._path(file_hash).open("rb")
        except FileNotFoundError as error:
            raise base_errors.NotFoundError("file", file_hash) from error

    def put(self, data: bytes) -> str:
        """Store these bytes; return their hash."""
        file_hash = hashlib.sha256(data).hexdigest()
        if not self._has(file_hash, len(data)):
            with room.needed(), partial.Partial.temporary(self._incoming.folder) as content:
                content.write(data)
                self._publish(content)
        return file_hash

    def receive(self, file_hash: str, size_bytes: int, offset: int = 0) -> receipt.Receipt:
        """Begin an upload, or go on with one that was cut; to be used in a `with`.

        With an offset, what is kept is read up to there. StoredMeanwhileError when there is
        nothing to go on with because the content is stored; WrongOffsetError when there is less.
        """
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        if size_bytes < 0:
            raise errors.WrongSizeError(announced=size_bytes, actual=0)
        return receipt.Receipt(
            file_hash=file_hash,
            size_bytes=size_bytes,
            offset=offset,
            incoming=self._incoming,
            publish=self._publish,
        )

    def committed_bytes(self, file_hash: str) -> int:
        """How much of this content need not be sent again: all of it when it is stored."""
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        with contextlib.suppress(FileNotFoundError):
            return self._path(file_hash).stat().st_size
        return self._incoming.committed_bytes(file_hash)

    def remove(self, file_hash: str) -> bool:
        """Remove content, and what is kept of an upload of it; return whether there was anything.

        Who has it open reads on; an upload that is going on is not touched.
        """
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        was_kept = self._incoming.forget(file_hash)
        path = self._path(file_hash)
        with self._lock(file_hash):
            try:
                path.unlink()
            except FileNotFoundError:
                return was_kept
            folders.fsync(path.parent)
        return True

    def expire(self, before: datetime.datetime) -> list[str]:
        """Remove what is kept of uploads that nobody has gone on with since; return the hashes."""
        return self._incoming.expire(before)

    def take(
        self, path: pathlib.Path, *, max_bytes: int | None = None, keep_source: bool = False
    ) -> StoredContent:
        """Move a finished output file into the store, without copying it.

        Nobody may write to it any more. On any failure it is still where it was. With
        `keep_source` it stays there in any case, so that a call whose answer was lost by a crash
        can be made again. NotFoundError when it is not there; OutputRefusedError when it is not
        a regular file; LimitExceededError when it is larger than `max_bytes`.
        """
        descriptor = output.open_regular(path)
        try:
            file_hash, size_bytes = output.measure(descriptor, max_bytes)
            stored = StoredContent(file_hash=file_hash, size_bytes=size_bytes)
            if not self._has(file_hash, size_bytes):
                with room.needed():
                    self._take_in(path, descriptor, stored)
        finally:
            os.close(descriptor)
        if not keep_source:
            path.unlink()
        return stored

    def walk(self) -> Iterator[str]:
        """Every hash that is stored, in order."""
        level = "[0-9a-f]" * _LEVEL_CHARACTERS
        for first in sorted(self._root.glob(level)):
            for path in sorted(first.glob(f"{level}/*")):
                if identity.is_hash(path.name) and self._path(path.name) == path:
                    yield path.name

    def is_intact(self, file_hash: str) -> bool:
        """Whether this content is stored and its bytes still have the hash."""
        path = self.find(file_hash)
        if path is None:
            return False
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == file_hash
        return False

    def _is_stored(self, file_hash: str) -> bool:
        # Asked 100,000 times in a row: a Path for each would take 1 s instead of 0.3 s.
        return (
            identity.is_hash(file_hash)
            and os.path.isfile(  # noqa: PTH113  # see above
                f"{self._root_text}/{file_hash[:2]}/{file_hash[2:4]}/{file_hash}"
            )
        )

    def _path(self, file_hash: str) -> pathlib.Path:
        middle = 2 * _LEVEL_CHARACTERS
        first, second = file_hash[:_LEVEL_CHARACTERS], file_hash[_LEVEL_CHARACTERS:middle]
        return self._root / first / second / file_hash

    def _has(self, file_hash: str, size_bytes: int) -> bool:
        """Whether this content is stored, and durable."""
        with self._lock(file_hash):
            return self._is_there(file_hash, size_bytes)

    def _lock(self, file_hash: str) -> threading.Lock:
        return self._locks[int(file_hash[:_LEVEL_CHARACTERS], 16)]

    def _is_there(self, file_hash: str, size_bytes: int) -> bool:
        # The size betrays a file that lost its end, and costs nothing: such a one is replaced.
        try:
            status = self._path(file_hash).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size_bytes

    def _publish(self, content: partial.Partial) -> bool:
        """Finish partial content and make it visible; return whether it was there before."""
        file_hash = content.file_hash
        if self._has(file_hash, content.size_bytes):
            return True
        content.finish()
        return self._make_visible(content.path, file_hash, content.size_bytes)

    def _make_visible(self, path: pathlib.Path, file_hash: str, size_bytes: int) -> bool:
        final = self._path(file_hash)
        with self._lock(file_hash):
            if self._is_there(file_hash, size_bytes):
                return True
            folders.make(final.parent.parent)
            folders.make(final.parent)
            path.rename(final)
            try:
                folders.fsync(final.parent)
            except OSError:
                # Not known to be durable, so not to be found either.
                final.rename(path)
                raise
        return False

    def _take_in(self, path: pathlib.Path, descriptor: int, stored: StoredContent) -> None:
        os.fchmod(descriptor, partial.MODE)
        os.fsync(descriptor)
        with partial.Partial.temporary(self._incoming.folder) as content:
            second = content.path.with_suffix(".link")
            try:
                if output.link(path, descriptor, second):
                    self._make_visible(second, stored.file_hash, stored.size_bytes)
                    return
            finally:
                second.unlink(missing_ok=True)
            for piece in output.pieces(descriptor):
                content.write(piece)
            if content.file_hash != stored.file_hash:
                raise errors.OutputRefusedError("the output changed while it was read")
            self._publish(content)
