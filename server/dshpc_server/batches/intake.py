"""Taking in what an attempt left behind: its output and the end of its log.

Promises: what is read is a regular file of the attempt's own folder, never what a link or a FIFO
points to; a long output is whole in the content store before anybody is told of it. Synchronous;
called in a thread.
"""

import errno
import hashlib
import os
import pathlib

from dshpc_server import errors
from dshpc_server.batches import encoding, regular
from dshpc_server.files import content
from dshpc_server.files import errors as files_errors

STDERR_TAIL_BYTES = 4096
"""How much of the log an answer carries."""
_RETRY_SECONDS = 1.0
# What the machine is short of for the moment says nothing about the output.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class UnreadableOutputError(errors.DshpcError):
    """The output is no regular file any more: the method has tampered with its folder."""


class Intake:
    """Reads what attempts left, and stores what is long."""

    def __init__(self, content: content.ContentStore, *, inline_output_bytes: int) -> None:
        self._content = content
        self._inline_output_bytes = inline_output_bytes

    def is_long(self, stdout: pathlib.Path) -> bool:
        """Whether taking this output in can take a while."""
        try:
            return stdout.lstat().st_size > self._inline_output_bytes
        except OSError:
            return False

    def output(self, stdout: pathlib.Path) -> encoding.Output:
        """Take the output in: as text if it is short, else into the content store.

        Raises UnreadableOutputError, and errors.UnavailableError when the disk does not take it
        or the machine is short of something; then the output is where it was.
        """
        try:
            short = self._read_short(stdout)
            if short is not None:
                return self._short(short)
            # The source stays: until the result is published, a crash must find it again.
            stored = self._content.take(stdout, keep_source=True)
        except regular.NotRegularError as error:
            raise UnreadableOutputError(str(error)) from error
        except (OSError, files_errors.OutputRefusedError, errors.NotFoundError) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                raise errors.UnavailableError(
                    f"the output cannot be read now: {error.strerror}",
                    retry_after_seconds=_RETRY_SECONDS,
                ) from error
            raise UnreadableOutputError(f"the output cannot be read: {error}") from error
        return encoding.Output(
            output_hash=stored.file_hash, size_bytes=stored.size_bytes, text=None
        )

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

    def _short(self, data: bytes) -> encoding.Output:
        text = _text(data)
        # What is no text cannot stand in a row, however short it is.
        file_hash = self._content.put(data) if text is None else hashlib.sha256(data).hexdigest()
        return encoding.Output(output_hash=file_hash, size_bytes=len(data), text=text)

    def _read_short(self, stdout: pathlib.Path) -> bytes | None:
        with os.fdopen(regular.descriptor(stdout), "rb") as file:
            data = file.read(self._inline_output_bytes + 1)
        return data if len(data) <= self._inline_output_bytes else None


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
