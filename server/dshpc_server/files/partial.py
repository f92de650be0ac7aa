"""Content that is still coming: a file, its size and its hash so far.

Promise: the file is held (`files.locks`) until it is closed, so nobody else writes to it, replaces
or removes it. It is closed and gone when its `with` ends; what it was published as stays. What is
to be kept is closed with `close`, and holds exactly the bytes that were counted.
"""

import hashlib
import os
import pathlib
import tempfile
import types
from collections.abc import Callable
from typing import Self

from dshpc_server.files import errors, locks

MODE = 0o444
_WRITABLE_MODE = 0o600
_PIECE_BYTES = 1024 * 1024
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Partial:
    """A file in the store's own folder, held. Used by one thread at a time."""

    def __init__(self, descriptor: int, path: pathlib.Path) -> None:
        self._descriptor: int | None = descriptor
        self._hash = hashlib.sha256()
        self.path = path
        self.size_bytes = 0

    @classmethod
    def temporary(cls, folder: pathlib.Path) -> Self:
        """Begin under a name of its own."""
        while True:
            descriptor, name = tempfile.mkstemp(dir=folder)
            content = cls._held(descriptor, pathlib.Path(name))
            # Else somebody who clears up was here before it was held.
            if content is not None:
                return content

    @classmethod
    def new(cls, path: pathlib.Path) -> Self | None:
        """Begin under this name; None when it is taken."""
        try:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _WRITABLE_MODE)
        except FileExistsError:
            return None
        return cls._held(descriptor, path)

    @classmethod
    def kept(cls, path: pathlib.Path) -> Self | None:
        """Open what was kept; nothing of it counts before `go_on`. None while another has it.

        FileNotFoundError without it.
        """
        descriptor = locks.take(path)
        return None if descriptor is None else cls(descriptor, path)

    @classmethod
    def _held(cls, descriptor: int, path: pathlib.Path) -> Self | None:
        if locks.hold(descriptor, path):
            return cls(descriptor, path)
        os.close(descriptor)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.discard()

    @property
    def file_hash(self) -> str:
        """The hash of what was written so far."""
        return self._hash.hexdigest()

    def go_on(self, size_bytes: int, check: Callable[[], None]) -> None:
        """Count the first so many bytes of what was kept, and drop the others.

        `check` is called again and again; what it raises ends this. WrongOffsetError when there
        are not as many.
        """
        descriptor = self._open()
        there_bytes = os.fstat(descriptor).st_size
        if there_bytes < size_bytes:
            raise errors.WrongOffsetError(size_bytes, there_bytes)
        os.ftruncate(descriptor, size_bytes)
        os.lseek(descriptor, 0, os.SEEK_SET)
        while piece := os.read(descriptor, _PIECE_BYTES):
            check()
            self._hash.update(piece)
            self.size_bytes += len(piece)

    def copy(self, path: pathlib.Path, size_bytes: int, check: Callable[[], None]) -> None:
        """Begin with the first so many bytes of what another is writing; see `go_on`."""
        with path.open("rb", buffering=0) as others:
            while missing_bytes := size_bytes - self.size_bytes:
                check()
                piece = others.read(min(missing_bytes, _PIECE_BYTES))
                if not piece:
                    raise errors.WrongOffsetError(size_bytes, self.size_bytes)
                self.write(piece)

    def write(self, chunk: bytes) -> None:
        """Append bytes; those that were written count, also when the others were not."""
        descriptor = self._open()
        rest = memoryview(chunk)
        while rest:
            written = os.write(descriptor, rest)
            self._hash.update(rest[:written])
            self.size_bytes += written
            rest = rest[written:]

    def finish(self) -> None:
        """Make what was written read-only and durable. It stays held, until it has its name."""
        descriptor = self._open()
        os.fchmod(descriptor, MODE)
        os.fsync(descriptor)

    def discard(self) -> None:
        """Give back what is left; idempotent, and harmless after it was published."""
        try:
            if self._descriptor is not None:
                self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def let_go(self) -> None:
        """Hold the file no more, and write no more; closing a large one takes its time."""
        if self._descriptor is not None:
            locks.let_go(self._descriptor)

    def close(self) -> None:
        """Write no more, and leave the file; idempotent."""
        self.let_go()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError("this content was discarded")
        return self._descriptor
