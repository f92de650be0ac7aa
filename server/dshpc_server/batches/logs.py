"""Reading what an attempt writes to its standard output or error, while it does and afterwards.

Promises: what is read is a regular file of the attempt's own folder, never what a link or a FIFO
points to; a log of any size takes the memory of one part; a follower is told everything that was
written before the attempt's end was recorded. No descriptor is open between two parts: the file is
opened, read and closed in one hop to a thread, so a reader that goes away leaves nothing.
"""

import asyncio
import dataclasses
import enum
import errno
import os
import pathlib
from collections.abc import AsyncGenerator, Callable

from dshpc_server import errors
from dshpc_server.batches import regular, watchers
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import committer, records

READ_LOG_BYTES = 256 * 1024
"""The longest part."""
_FIRST_POLL_SECONDS = 0.1
_LAST_POLL_SECONDS = 1.0
"""How often a file is looked at: sooner after it grew, twice as late each time it did not."""
_RETRY_SECONDS = 1.0
# A link, a socket, no folder, no right to read: the method's doing.
_TAMPERED = frozenset({errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EACCES})
_UNLAUNCHED = (JobStatus.PENDING, JobStatus.BLOCKED)


class Log(enum.StrEnum):
    """Which of an attempt's streams; the name of its file."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Which bytes are wanted."""

    offset: int = 0
    tail_bytes: int = 0
    """The last so many of what is there now; 0: from `offset`."""
    limit_bytes: int = 0
    """0: all."""
    follow: bool = False
    """Go on until the attempt has ended."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some of a log."""

    data: bytes
    offset: int
    attempt: int
    is_last: bool
    """The attempt has ended, and no byte follows these."""


class Logs:
    """Reads the logs of attempts."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        watchers: watchers.Watchers,
        folder: Callable[[AttemptKey], pathlib.Path],
    ) -> None:
        self._committer = committer
        self._watchers = watchers
        self._folder = folder

    async def parts(
        self, job_id: str, number: int, log: Log, span: Span
    ) -> AsyncGenerator[Part, None]:
        """Tell a log, at least one part of it. Close the iterator (`contextlib.aclosing`).

        Number 0 is the newest attempt. Raises NotFoundError for an unknown job or attempt and for
        a log that is not there any more, InvalidRequestError for an offset beyond the end.
        """
        with self._watchers.watch([job_id]) as watch:
            attempt = await self._attempt(job_id, number)
            path = self._folder(attempt.key) / log
            reader = _Reader(path, _Progress(attempt, watch), span)
            async for part in reader.parts():
                yield part

    async def _attempt(self, job_id: str, number: int) -> records.Attempt:
        record = await self._committer.read(lambda store: store.find_job(job_id))
        if record is None:
            raise errors.NotFoundError("job", job_id)
        if not number:
            return record.newest.attempt
        for found in record.attempts:
            if found.attempt.key.number == number:
                return found.attempt
        raise errors.NotFoundError("attempt", f"{job_id}/{number}")


class _Progress:
    """How one attempt goes on, as far as its watch has told."""

    def __init__(self, attempt: records.Attempt, watch: watchers.Watch) -> None:
        self.attempt = attempt
        self._watch = watch

    @property
    def has_ended(self) -> bool:
        return self.attempt.status in job.TERMINAL

    async def wait(self, poll_seconds: float) -> None:
        """Wait until something is told, or until it is time to look at the file."""
        # What waits in the queue writes nothing.
        is_waiting = self.attempt.status in _UNLAUNCHED
        await self._watch.wait(None if is_waiting else poll_seconds)
        for change in self._watch.take():
            if change.key == self.attempt.key and change.revision > self.attempt.revision:
                self.attempt = change


class _Reader:
    """Reads one span of one log."""

    def __init__(self, path: pathlib.Path, progress: _Progress, span: Span) -> None:
        self._path = path
        self._progress = progress
        self._span = span
        self._position = 0
        self._stop: int | None = None
        """Where to stop at the latest; None: nowhere."""

    async def parts(self) -> AsyncGenerator[Part, None]:
        self._place((await self._read(0)).size)
        is_told = False
        poll_seconds = _FIRST_POLL_SECONDS
        while True:
            has_ended = self._progress.has_ended  # before the read: what follows it is read too
            piece = await self._read(READ_LOG_BYTES)
            if has_ended and not is_told:
                self._check_offset(piece.size)
            part = self._part(piece, has_ended=has_ended)
            is_over = part.is_last or self._is_over(piece)
            if piece.data or part.is_last or (is_over and not is_told):
                is_told = True
                yield part
            if is_over:
                return
            if self._position >= piece.size:
                poll_seconds = _FIRST_POLL_SECONDS if piece.data else 2 * poll_seconds
                poll_seconds = min(poll_seconds, _LAST_POLL_SECONDS)
                await self._progress.wait(poll_seconds)

    def _place(self, size: int) -> None:
        """Find the first byte and where to stop, by what is there now."""
        span = self._span
        if self._progress.has_ended or not span.follow:
            self._check_offset(size)
        self._position = max(0, size - span.tail_bytes) if span.tail_bytes else span.offset
        stops = [self._position + span.limit_bytes] if span.limit_bytes else []
        if not span.follow:
            stops.append(size)
        self._stop = min(stops, default=None)

    def _check_offset(self, size: int) -> None:
        if self._span.offset > size:
            raise errors.InvalidRequestError(
                Violation(
                    field="offset", description=f"{self._span.offset} is beyond the end, {size}"
                )
            )

    def _part(self, piece: "_Piece", *, has_ended: bool) -> Part:
        """Return what was read, and go past it."""
        offset = self._position
        self._position += len(piece.data)
        return Part(
            data=piece.data,
            offset=offset,
            attempt=self._progress.attempt.key.number,
            is_last=has_ended and self._position >= piece.size,
        )

    def _is_over(self, piece: "_Piece") -> bool:
        if self._position == self._stop:
            return True
        # It shrank while it was read; only who follows waits for more.
        return not piece.data and not self._span.follow

    async def _read(self, limit: int) -> "_Piece":
        has_ended = self._progress.has_ended
        if self._stop is not None:
            limit = min(limit, self._stop - self._position)
        piece = await asyncio.to_thread(_read, self._path, self._position, limit)
        if piece is not None:
            return piece
        if has_ended and self._progress.attempt.started_at is not None:
            raise _not_found(self._path)
        return _Piece(data=b"", size=0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """What was read at one moment."""

    data: bytes
    size: int
    """Of the whole file."""


def _read(path: pathlib.Path, offset: int, limit: int) -> _Piece | None:
    """Read some of a file; None when there is none."""
    try:
        descriptor = regular.descriptor(path)
    except FileNotFoundError:
        return None
    except regular.NotRegularError as error:
        raise _not_found(path) from error
    except OSError as error:
        if error.errno in _TAMPERED:
            raise _not_found(path) from error
        raise errors.UnavailableError(
            f"the log cannot be read now: {error.strerror}", retry_after_seconds=_RETRY_SECONDS
        ) from error
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, limit, offset) if offset < size and limit > 0 else b""
    finally:
        os.close(descriptor)
    # It may have grown in between.
    return _Piece(data=data, size=max(size, offset + len(data)) if data else size)


def _not_found(path: pathlib.Path) -> errors.NotFoundError:
    job_id, number = path.parent.parts[-2:]
    return errors.NotFoundError("log", f"{path.name} of {job_id}/{number}")
