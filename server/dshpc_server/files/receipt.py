"""Receive content whose hash and size were announced.

Promise: either exactly the announced bytes are stored when `commit` returns, or nothing is. What is
left of a receipt that failed or was given up goes when its `with` ends.
"""

import types
from collections.abc import Callable
from typing import Self

from dshpc_server.files import errors, partial, room


class Receipt:
    """One upload, from the first chunk to `commit`. Used by one thread at a time.

    The calls may come from different threads, one after the other.
    """

    def __init__(
        self,
        *,
        file_hash: str,
        size_bytes: int,
        content: partial.Partial,
        publish: Callable[[partial.Partial], bool],
    ) -> None:
        self._file_hash = file_hash
        self._size_bytes = size_bytes
        self._content = content
        self._publish = publish

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._content.discard()

    @property
    def received_bytes(self) -> int:
        """How many bytes have come."""
        return self._content.size_bytes

    def write(self, chunk: bytes) -> None:
        """Append bytes; WrongSizeError, and they are not written, beyond the announced size."""
        received_bytes = self._content.size_bytes + len(chunk)
        if received_bytes > self._size_bytes:
            raise errors.WrongSizeError(announced=self._size_bytes, actual=received_bytes)
        with room.needed():
            self._content.write(chunk)

    def commit(self) -> bool:
        """Check and store what came; return whether the same content was already there."""
        if self._content.size_bytes != self._size_bytes:
            raise errors.WrongSizeError(announced=self._size_bytes, actual=self._content.size_bytes)
        if self._content.file_hash != self._file_hash:
            raise errors.WrongHashError(announced=self._file_hash, actual=self._content.file_hash)
        with room.needed():
            return self._publish(self._content)
