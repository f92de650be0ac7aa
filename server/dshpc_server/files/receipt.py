"""Receive content whose hash and size were announced.

Promise: either exactly the announced bytes are stored when `commit` returns, or nothing is. What
came of a receipt that was cut is kept when its `with` ends, for another to go on with; of one whose
bytes are wrong nothing is.
"""

import contextlib
import threading
import types
from collections.abc import Callable, Iterator
from typing import Self

from dshpc_server import clock as clocks
from dshpc_server import errors as base_errors
from dshpc_server.files import errors, incoming, partial
from dshpc_server.files import room as rooms

STALLED_SECONDS = 5.0
"""From then on who goes on with an upload takes it over; before, both go their way. A client that
comes again after its connection broke has mostly noticed that later than the server."""


class Receipt:
    """One upload, from the first chunk to `commit`. Used by one thread at a time.

    The calls may come from different threads, one after the other.
    """

    def __init__(
        self,
        *,
        file_hash: str,
        size_bytes: int,
        offset: int,
        incoming: incoming.Incoming,
        publish: Callable[[partial.Partial], bool],
        room: rooms.Room | None,
        clock: clocks.Clock,
    ) -> None:
        """With an offset, go on with what is kept; whoever has stalled with it is superseded.

        Reads what is kept up to there, which takes its time.
        """
        self.file_hash = file_hash
        self._size_bytes = size_bytes
        self._offset = offset
        self._incoming = incoming
        self._publish = publish
        self._room = room
        self._clock = clock
        self._moved_at = clock.monotonic()
        self._superseded = False
        self._wrong = False
        self._content: partial.Partial | None = None
        self._lock = threading.Lock()
        """Held while something is done to the content: whoever supersedes waits for that."""
        with self._lock, rooms.needed():
            if offset:
                self._content = incoming.go_on(self, self._check_going_on)
            else:
                self._content = incoming.begin(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        wrong = self._wrong or isinstance(error, base_errors.InvalidRequestError | OSError)
        with self._lock, rooms.needed():
            self._end(keep=not wrong)

    @property
    def received_bytes(self) -> int:
        """How many bytes have come, with those that an earlier upload had brought."""
        content = self._content
        return self._offset if content is None else content.size_bytes

    def write(self, chunk: bytes) -> None:
        """Append bytes; WrongSizeError, and they are not written, beyond the announced size.

        SupersededError when another receipt goes on with this content.
        """
        with self._mine() as content:
            received_bytes = content.size_bytes + len(chunk)
            if received_bytes > self._size_bytes:
                raise self._wrong_size(received_bytes)
            self._check_room(len(chunk))
            with self._on_disk():
                content.write(chunk)
                self._incoming.grown(self, content)
            self._moved_at = self._clock.monotonic()

    def commit(self) -> bool:
        """Check and store what came; return whether the same content was already there."""
        with self._mine() as content:
            if content.size_bytes != self._size_bytes:
                raise self._wrong_size(content.size_bytes)
            if content.file_hash != self.file_hash:
                self._wrong = True
                raise errors.WrongHashError(announced=self.file_hash, actual=content.file_hash)
            with self._on_disk():
                existed = self._publish(content)
                self._end(keep=False)
        with rooms.needed():
            self._incoming.forget(self.file_hash)
        return existed

    def has_stalled(self) -> bool:
        """Whether nothing has come for so long that the client may be gone."""
        return self._clock.monotonic() - self._moved_at >= STALLED_SECONDS

    def supersede(self) -> None:
        """Write no more, for another goes on with this content; what came is left to it."""
        self._superseded = True  # before the lock: what is under way looks at it
        with self._lock:
            if self._content is not None:
                self._content.close()

    @contextlib.contextmanager
    def _mine(self) -> Iterator[partial.Partial]:
        """Have the content for the moment; whoever wants to supersede this waits."""
        with self._lock:
            self._check_not_superseded()
            if self._content is None:
                raise ValueError("this receipt has ended")
            yield self._content

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """While writing: of what a failing disk took, no byte is to be trusted."""
        with rooms.needed():
            try:
                yield
            except OSError as error:
                self._wrong = not rooms.is_full(error)
                raise

    def _wrong_size(self, actual_bytes: int) -> errors.WrongSizeError:
        self._wrong = True
        return errors.WrongSizeError(announced=self._size_bytes, actual=actual_bytes)

    def _end(self, *, keep: bool) -> None:
        content = self._content
        if content is not None:
            try:
                self._incoming.end(self, content, keep=keep)
            finally:
                content.close()
                # Until it has let go, others see by it how much came.
                self._content = None

    def _check_going_on(self) -> None:
        self._check_not_superseded()
        self._check_room(0)
        self._moved_at = self._clock.monotonic()

    def _check_not_superseded(self) -> None:
        if self._superseded:
            raise base_errors.SupersededError("another call has taken this upload over")

    def _check_room(self, needed_bytes: int) -> None:
        if self._room is not None:
            self._room.check(needed_bytes)
