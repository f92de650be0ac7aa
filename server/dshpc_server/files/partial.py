"""Content that is still coming: a temporary file, its size and its hash so far.

Promise: it is closed and gone when its `with` ends, unless it was published before.
"""

import hashlib
import os
import pathlib
import tempfile
import types
from typing import Self

MODE = 0o444


class Partial:
    """A temporary file in the store's own folder. Used by one thread at a time."""

    def __init__(self, folder: pathlib.Path) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder)
        self._descriptor: int | None = descriptor
        self._hash = hashlib.sha256()
        self.path = pathlib.Path(name)
        self.size_bytes = 0

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

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        if self._descriptor is None:
            raise ValueError("this content was finished or discarded")
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def finish(self) -> None:
        """Make what was written read-only and durable; nothing can be written after it."""
        if self._descriptor is None:
            raise ValueError("this content was finished or discarded")
        os.fchmod(self._descriptor, MODE)
        os.fsync(self._descriptor)
        self._close()

    def discard(self) -> None:
        """Give back what is left; idempotent, and harmless after it was published."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
