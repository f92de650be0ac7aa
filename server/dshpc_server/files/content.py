"""The content store: bytes on disk under their SHA-256.

    ROOT/ab/cd/abcd…      content; see `files.stored`
    ROOT/incoming/        what is coming, on the same file system; see `files.incoming`

Promises: content is visible only when it is whole, has the hash it is named by, and is durable
(written, fsynced, named, the folder fsynced). A call that fails leaves nothing visible, and
nothing behind but what an upload can be gone on with. Every method may be called from any thread,
and by several servers that share the root; the same content stored twice at one time is stored
once, and both succeed. What is not a hash never becomes a path. Where the disk is full or does not
take what is written, NoRoomError; where it does not say what is there, NoAnswerError: that is
never taken for absence.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Collection, Iterator

from dshpc_server import clock as clocks
from dshpc_server import disk
from dshpc_server import errors as base_errors
from dshpc_server.domain import identity
from dshpc_server.files import (
    errors,
    incoming,
    output,
    partial,
    receipt,
    room,
    stored,
)

_SYSTEM_CLOCK = clocks.SystemClock()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredContent:
    """Content that is in the store."""

    file_hash: str
    size_bytes: int


def _go_on() -> None:
    """Nobody wants the work to stop."""


class ContentStore:
    """Files and outputs alike, by hash."""

    def __init__(
        self,
        root: pathlib.Path,
        *,
        room: room.Room | None = None,
        clock: clocks.Clock = _SYSTEM_CLOCK,
    ) -> None:
        """With `room`, uploads are refused while there is not enough of it."""
        root = root.absolute()
        self._room = room
        self._clock = clock
        self._stored = stored.Stored(root)
        coming = root / stored.COMING
        coming.mkdir(parents=True, exist_ok=True)
        disk.fsync_folder(root.parent)
        disk.fsync_folder(root)
        self._incoming = incoming.Incoming(coming, self._stored.has)

    def find(self, file_hash: str) -> pathlib.Path | None:
        """Where this content is; None when it is not stored, or this is no hash."""
        return None if self._stored.missing([file_hash]) else self._stored.path(file_hash)

    def missing(self, file_hashes: Collection[str]) -> list[str]:
        """Which of these are not stored: in the order asked, each once."""
        return self._stored.missing(file_hashes)

    def open(self, file_hash: str) -> io.BufferedReader:
        """Open content for reading; NotFoundError when it is not stored."""
        path = self._path(file_hash)
        try:
            with disk.asked():
                return path.open("rb")
        except disk.ABSENT as error:
            self._stored.check_there()
            raise base_errors.NotFoundError("file", file_hash) from error

    def put(self, data: bytes) -> str:
        """Store these bytes; return their hash."""
        file_hash = hashlib.sha256(data).hexdigest()
        with room.needed():
            if not self._stored.is_durable(file_hash, len(data)):
                with partial.Partial.temporary(self._incoming.folder) as content:
                    content.write(data)
                    self._publish(content)
        return file_hash

    def receive(self, file_hash: str, size_bytes: int, offset: int = 0) -> receipt.Receipt:
        """Begin an upload, or go on with one that was cut; to be used in a `with`.

        With an offset, what is kept is read up to there. StoredMeanwhileError when there is
        nothing to go on with because the content is stored; WrongOffsetError when there is less.
        NoRoomError when there is none for what is still to come.
        """
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        if size_bytes < 0:
            raise errors.WrongSizeError(announced=size_bytes, actual=0)
        if self._room is not None and not self._stored.has(file_hash):
            self._room.check(size_bytes - offset)
        return receipt.Receipt(
            file_hash=file_hash,
            size_bytes=size_bytes,
            offset=offset,
            incoming=self._incoming,
            publish=self._publish,
            room=self._room,
            clock=self._clock,
        )

    def committed_bytes(self, file_hash: str) -> int:
        """How much of this content need not be sent again: all of it when it is stored."""
        found = disk.status(self._path(file_hash))
        return self._incoming.committed_bytes(file_hash) if found is None else found.st_size

    def is_coming(self, file_hash: str) -> bool:
        """Whether an upload of this content makes progress at this server; asks no disk."""
        return self._incoming.is_coming(file_hash)

    def remove(self, file_hash: str) -> bool:
        """Remove content, and what is kept of an upload of it; return whether there was anything.

        Who has it open reads on; an upload that is going on is not touched.
        """
        return bool(self.remove_many([file_hash]))

    def remove_many(self, file_hashes: Collection[str]) -> list[str]:
        """Remove all of these as `remove` does, more cheaply; return of which there was anything.

        When this fails some of them may be gone.
        """
        if not all(map(identity.is_hash, file_hashes)):
            raise errors.NotAHashError
        with room.needed():
            were_kept = {each for each in file_hashes if self._incoming.forget(each)}
            were_stored = set(self._stored.remove(file_hashes))
        return [each for each in dict.fromkeys(file_hashes) if each in were_kept | were_stored]

    def expire(self, before: datetime.datetime) -> list[str]:
        """Remove what is kept of uploads that nobody has gone on with since; return the hashes."""
        return self._incoming.expire(before)

    def take(
        self,
        path: pathlib.Path,
        *,
        max_bytes: int | None = None,
        keep_source: bool = False,
        check: Callable[[], None] = _go_on,
    ) -> StoredContent:
        """Move a finished output file into the store, without copying it.

        Nobody may write to it any more. On any failure it is still where it was. With
        `keep_source` it stays there in any case, so that a call whose answer was lost by a crash
        can be made again. `check` is called every few milliseconds while the output is read, and
        what it raises ends this. NotFoundError when the output is not there; OutputRefusedError
        when it is not a regular file, or the disk does not give it back; LimitExceededError when
        it is larger than `max_bytes`.
        """
        descriptor = output.open_regular(path)
        try:
            file_hash, size_bytes = output.measure(descriptor, max_bytes, check)
            taken = StoredContent(file_hash=file_hash, size_bytes=size_bytes)
            with room.needed():
                if not self._stored.is_durable(file_hash, size_bytes):
                    self._take_in(path, descriptor, taken, check)
        finally:
            os.close(descriptor)
        if not keep_source:
            path.unlink()
        return taken

    def walk(self) -> Iterator[str]:
        """Every hash that is stored, in order."""
        return self._stored.walk()

    def usage(self) -> Iterator[stored.Usage]:
        """What is stored, with its size and age, in the order of the hashes."""
        return self._stored.usage()

    def is_intact(self, file_hash: str) -> bool:
        """Whether this content is stored and its bytes still have the hash."""
        absent = contextlib.suppress(base_errors.NotFoundError, errors.NotAHashError)
        with absent, self.open(file_hash) as file, disk.asked():
            return hashlib.file_digest(file, "sha256").hexdigest() == file_hash
        return False

    def _path(self, file_hash: str) -> pathlib.Path:
        if not identity.is_hash(file_hash):
            raise errors.NotAHashError
        return self._stored.path(file_hash)

    def _publish(self, content: partial.Partial) -> bool:
        """Finish partial content and make it visible; return whether it was there before."""
        if self._stored.is_durable(content.file_hash, content.size_bytes):
            return True
        content.finish()
        # Still held: nobody may write to what has its name.
        return self._stored.place(content.path, content.file_hash, content.size_bytes)

    def _take_in(
        self,
        path: pathlib.Path,
        descriptor: int,
        taken: StoredContent,
        check: Callable[[], None],
    ) -> None:
        os.fchmod(descriptor, partial.MODE)
        os.fsync(descriptor)
        with partial.Partial.temporary(self._incoming.folder) as content:
            second = content.path.with_suffix(incoming.LINK_SUFFIX)
            try:
                if output.link(path, descriptor, second):
                    self._stored.place(second, taken.file_hash, taken.size_bytes)
                    return
            finally:
                second.unlink(missing_ok=True)
            for piece in output.pieces(descriptor):
                check()
                content.write(piece)
            if content.file_hash != taken.file_hash:
                raise errors.OutputRefusedError("the output changed while it was read")
            self._publish(content)
