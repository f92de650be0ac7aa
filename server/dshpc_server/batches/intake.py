"""Taking in what an attempt left behind: its output and the end of its log.

Promises: what is read is a regular file of the attempt's own folder, never what a link or a FIFO
points to; a long output is whole in the content store before anybody is told of it. What cannot be
read any more is the end of that; what cannot be stored waits where it is, whatever the reason, for
hours of work are not dropped for a disk that fails. Synchronous; called in a thread.
"""

import contextlib
import hashlib
import os
import pathlib
import threading
from collections.abc import Iterator

from dshpc_server import crashing, disk, errors
from dshpc_server.batches import encoding, regular
from dshpc_server.files import content
from dshpc_server.files import errors as files_errors

STDERR_TAIL_BYTES = 4096
"""How much of the log an answer carries."""
_RETRY_SECONDS = 1.0


class UnreadableOutputError(errors.DshpcError):
    """The output cannot be read: the method has tampered with its folder, or the disk fails."""


class Intake:
    """Reads what attempts left, and stores what is long."""

    def __init__(self, content: content.ContentStore, *, inline_output_bytes: int) -> None:
        self._content = content
        self._inline_output_bytes = inline_output_bytes
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Let go of the long outputs that are being taken in, and begin with none.

        Any thread may call. Who waits for `output` is told within milliseconds, but for what the
        disk was asked to make durable. Short outputs take no time and are taken in.
        """
        self._stopping.set()

    def is_long(self, stdout: pathlib.Path) -> bool:
        """Whether taking this output in can take a while."""
        try:
            return stdout.lstat().st_size > self._inline_output_bytes
        except OSError:
            return False

    def output(self, stdout: pathlib.Path) -> encoding.Output:
        """Take the output in: as text if it is short, else into the content store.

        Raises UnreadableOutputError; and errors.UnavailableError when the disk does not take it,
        the machine is short of something, or the server stops: then the output is where it was.
        """
        with _reading():
            short = self._read_short(stdout)
        with _storing():
            return self._long(stdout) if short is None else self._short(short)

    def stderr_tail(self, stderr: pathlib.Path) -> str:
        """The end of the log; empty when there is none, or it cannot be read."""
        try:
            with os.fdopen(regular.descriptor(stderr), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - STDERR_TAIL_BYTES))
                tail = file.read(STDERR_TAIL_BYTES)
        except (OSError, regular.NotRegularError):
            return ""
        return tail.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")

    def _long(self, stdout: pathlib.Path) -> encoding.Output:
        # The source stays: until the result is published, a crash must find it again.
        stored = self._content.take(stdout, keep_source=True, check=self._check_going_on)
        crashing.point("output.stored")
        return encoding.Output(
            output_hash=stored.file_hash, size_bytes=stored.size_bytes, text=None
        )

    def _short(self, data: bytes) -> encoding.Output:
        text = _text(data)
        # What is no text cannot stand in a row, however short it is.
        file_hash = self._content.put(data) if text is None else hashlib.sha256(data).hexdigest()
        return encoding.Output(output_hash=file_hash, size_bytes=len(data), text=text)

    def _read_short(self, stdout: pathlib.Path) -> bytes | None:
        with os.fdopen(regular.descriptor(stdout), "rb") as file:
            data = file.read(self._inline_output_bytes + 1)
        return data if len(data) <= self._inline_output_bytes else None

    def _check_going_on(self) -> None:
        if self._stopping.is_set():
            raise _waiting("the server is stopping")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """While reading: what the disk does not give back is lost, what the machine lacks passes."""
    try:
        yield
    except regular.NotRegularError as error:
        raise UnreadableOutputError(str(error)) from error
    except OSError as error:
        if error.errno in disk.PASSING:
            raise _waiting(f"the output cannot be read now: {error.strerror}") from error
        # Without the path: a client reads this.
        raise UnreadableOutputError(f"the output could not be read: {error.strerror}") from error


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    """While storing: only what the output itself is at fault for ends it."""
    try:
        yield
    except (files_errors.OutputRefusedError, errors.NotFoundError) as error:
        raise UnreadableOutputError(str(error)) from error
    except OSError as error:
        raise _waiting(f"the output cannot be stored now: {error.strerror}") from error


def _waiting(reason: str) -> errors.UnavailableError:
    return errors.UnavailableError(reason, retry_after_seconds=_RETRY_SECONDS)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
