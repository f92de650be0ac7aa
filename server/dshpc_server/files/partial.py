"""Content that is still coming: a file, its size and its hash so far.

Promise: it is closed and gone when its `with` ends, unless it was published before. What is to be
kept is closed with `close`, and holds exactly the bytes that were counted.
"""

import hashlib
import os
import pathlib
import tempfile
import types
from collections.abc import Callable
from typing import Self

from dshpc_server.files import errors, output

MODE = 0o444
_WRITABLE_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Partial:
    """A file in the store's own folder. Used by one thread at a time."""

    def __init__(self, descriptor: int, path: pathlib.Path) -> None:
        self._descriptor: int | None = descriptor
        self._hash = hashlib.sha256()
        self.path = path
        self.size_bytes = 0

    @classmethod
    def temporary(cls, folder: pathlib.Path) -> Self:
        """Begin under a name of its own."""
        descriptor, name = tempfile.mkstemp(dir=folder)
        return cls(descriptor, pathlib.Path(name))

    @classmethod
    def new(cls, path: pathlib.Path) -> Self:
        """Begin under this name; FileExistsError when it is taken."""
        return cls(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _WRITABLE_MODE), path)

    @classmethod
    def kept(cls, path: pathlib.Path) -> Self:
        """Open what was kept; nothing of it counts before `go_on`. FileNotFoundError without it."""
        # It may have been finished already by somebody who then failed to publish it.
        path.chmod(_WRITABLE_MODE)
        return cls(os.open(path, _FLAGS), path)

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
        for piece in output.pieces(descriptor):
            check()
            self._hash.update(piece)
            self.size_bytes += len(piece)

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
        """Make what was written read-only and durable; nothing can be written after it."""
        descriptor = self._open()
        os.fchmod(descriptor, MODE)
        os.fsync(descriptor)
        self.close()

    def discard(self) -> None:
        """Give back what is left; idempotent, and harmless after it was published."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write no more, and leave the file; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError("this content was finished or discarded")
        return self._descriptor
