"""Taking in one upload: the header, the chunks, and what is said at the end.

Promises: what came of an upload that was cut, cancelled, stalled or superseded is kept; a file is
answered only when its content and its labels are stored; nobody deletes it in between. A client
that sends nothing, or next to nothing, does not keep its place.
"""

import asyncio
import contextlib
import functools
import types
from collections.abc import AsyncIterator

import structlog

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, errors
from dshpc_server.batches import content as library
from dshpc_server.files import content, receipt, staying
from dshpc_server.files import errors as files_errors
from dshpc_server.store import records
from dshpc_server.transport import known, limits, options, upload_parts

_log = structlog.get_logger(__name__)

END_SECONDS = 0.5
"""A connection that is lost looks, for a moment, like a client that has sent everything."""
LONG_WORKS = 2
"""How many large uploads read what is kept, or are made durable, at one time: seconds a GiB."""
SHORT_WORKS = 4
"""How much else is done for uploads on disk at one time. Together these leave threads to those who
ask for other things, also while the disk hangs."""
LONG_WORK_BYTES = 64 * 1024 * 1024
"""From this size on."""
REMOVING_RETRY_SECONDS = 1.0
"""Advice for a client whose file is being removed, which takes a moment."""
WAIT_SECONDS = 10.0
"""How long a large upload lets another one of the same content go first: most have ended by then,
and two at a time take each twice as long."""
WAIT_LOOK_SECONDS = 0.1


class Uploading:
    """Takes uploads in."""

    def __init__(
        self,
        *,
        content: content.ContentStore,
        library: library.Library,
        limits: limits.Limits,
        clock: clock.Clock,
    ) -> None:
        self._content = content
        self._library = library
        self._limits = limits
        self._clock = clock
        self._long_work = asyncio.Semaphore(LONG_WORKS)
        self._short_work = asyncio.Semaphore(SHORT_WORKS)

    async def take(
        self, messages: AsyncIterator[file_service_pb2.UploadFileRequest]
    ) -> tuple[records.FileRecord, bool]:
        """Store one file, verified; its record, and whether it had been stored before."""
        parts = upload_parts.Parts(messages, self._limits.upload_stall_seconds, self._clock)
        header = await parts.header()
        self._check(header)
        await self._let_another_end(header)
        found = await self._found(header)
        if found is not None:
            return found, True
        async with contextlib.AsyncExitStack() as stack:
            try:
                coming = await self._begin(header, stack)
                await self._write(coming, header, parts)
            except files_errors.StoredMeanwhileError:
                return await self._found_after_all(header), True
            async with self._turn(header.size_bytes):
                return await staying.until_done(self._commit(coming, header))

    async def _let_another_end(self, header: file_service_pb2.UploadHeader) -> None:
        """Wait for who sends the same, for a while; the client sends what fits into its buffers."""
        if header.size_bytes >= LONG_WORK_BYTES:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    while self._content.is_coming(header.file_hash):  # noqa: ASYNC110 - it may stall
                        await asyncio.sleep(WAIT_LOOK_SECONDS)

    async def _begin(
        self, header: file_service_pb2.UploadHeader, stack: contextlib.AsyncExitStack
    ) -> receipt.Receipt:
        def begin() -> receipt.Receipt:
            coming = self._content.receive(header.file_hash, header.size_bytes, header.write_offset)
            stack.push_async_exit(functools.partial(self._end, coming))
            return coming

        async with self._turn(header.write_offset):
            return await staying.in_thread(begin)

    async def _end(
        self,
        coming: receipt.Receipt,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Keep or remove what came, unless it was stored: removing a large file takes its time."""

        async def end() -> None:
            async with self._short_work:
                await asyncio.to_thread(coming.__exit__, kind, error, traceback)

        if error is not None:
            await staying.until_done(end())

    @contextlib.asynccontextmanager
    async def _turn(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait with work on so many bytes until there is not too much of it."""
        async with self._short_work if size_bytes < LONG_WORK_BYTES else self._long_work:
            yield

    async def _write(
        self,
        coming: receipt.Receipt,
        header: file_service_pb2.UploadHeader,
        parts: upload_parts.Parts,
    ) -> None:
        """Take the chunks in; StoredMeanwhileError when no more of them are needed."""

        def write(chunk: bytes) -> None:
            coming.write(chunk)
            if self._content.find(header.file_hash) is not None:
                raise files_errors.StoredMeanwhileError(header.file_hash)

        while (chunk := await parts.chunk()) is not None:
            async with self._short_work:
                await staying.in_thread(functools.partial(write, chunk))
            del chunk  # not held while the next is waited for
        if coming.received_bytes < header.size_bytes:
            # If the client is gone, this is cancelled, and what came is kept; else it is refused.
            await asyncio.sleep(END_SECONDS)

    def _check(self, header: file_service_pb2.UploadHeader) -> None:
        known.refuse_unknown("header", header)
        options.file_hash("header.file_hash", header.file_hash)
        for field in ("size_bytes", "write_offset"):
            if getattr(header, field) < 0:
                raise upload_parts.invalid(f"header.{field}", "must not be negative")
        if header.size_bytes > self._limits.max_file_bytes:
            raise errors.LimitExceededError(
                "max_file_bytes", maximum=self._limits.max_file_bytes, actual=header.size_bytes
            )
        if header.write_offset > header.size_bytes:
            raise upload_parts.invalid("header.write_offset", "is beyond header.size_bytes")
        for field in ("filename", "media_type"):
            if len(getattr(header, field).encode()) > limits.MAX_LABEL_BYTES:
                raise upload_parts.invalid(
                    f"header.{field}", f"is over {limits.MAX_LABEL_BYTES} bytes"
                )

    async def _found(self, header: file_service_pb2.UploadHeader) -> records.FileRecord | None:
        """The record of what is stored already; an output gets its first labels."""
        with self._library.held([header.file_hash]):
            if await self._library.missing([header.file_hash]):
                return None
            await self._check_size(header)
            return await self._remember(header)

    async def _found_after_all(self, header: file_service_pb2.UploadHeader) -> records.FileRecord:
        found = await self._found(header)
        if found is None:
            raise _being_removed(header.file_hash)
        return found

    async def _check_size(self, header: file_service_pb2.UploadHeader) -> None:
        """Refuse a wrong size for content that is here: an output has no labels yet to keep."""
        file = await self._library.open(header.file_hash)
        if file is None:
            return
        with file:
            size = await asyncio.to_thread(file.seek, 0, 2)
        if size != header.size_bytes:
            raise upload_parts.invalid(
                "header.size_bytes", f"{header.size_bytes}, but the content has {size}"
            )

    async def _commit(
        self, coming: receipt.Receipt, header: file_service_pb2.UploadHeader
    ) -> tuple[records.FileRecord, bool]:
        with self._library.held([header.file_hash]):
            await self._library.settled([header.file_hash])
            already_existed = await asyncio.to_thread(coming.commit)
            _log.info(
                "file.stored",
                file_hash=header.file_hash,
                size_bytes=header.size_bytes,
                already_existed=already_existed,
            )
            return await self._remember(header), already_existed

    async def _remember(self, header: file_service_pb2.UploadHeader) -> records.FileRecord:
        """Store the labels; BeingRemovedError when the content goes at this moment.

        Another server may be deleting it, which nobody here knows of.
        """
        now = self._clock.now()
        record = records.FileRecord(
            file_hash=header.file_hash,
            size_bytes=header.size_bytes,
            filename=header.filename,
            media_type=header.media_type,
            created_at=now,
            last_used_at=now,
        )
        kept = await self._library.remember(record)
        if await self._library.missing([header.file_hash]):
            raise _being_removed(header.file_hash)
        return kept


def _being_removed(file_hash: str) -> errors.BeingRemovedError:
    return errors.BeingRemovedError("file", file_hash, retry_after_seconds=REMOVING_RETRY_SECONDS)
