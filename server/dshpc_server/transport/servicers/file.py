"""FileService: input files and outputs, addressed by the SHA-256 of their content."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, TypeVar

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, errors
from dshpc_server.batches import content as library
from dshpc_server.domain.rejection import Violation
from dshpc_server.files import content, receipt
from dshpc_server.store import committer, port
from dshpc_server.transport import edge, known, limits, moments, options

T = TypeVar("T")


class FileServicer:
    """Serves FileService."""

    def __init__(
        self,
        *,
        content: content.ContentStore,
        library: library.Library,
        committer: committer.Committer,
        limits: limits.Limits,
        clock: clock.Clock,
    ) -> None:
        self._content = content
        self._library = library
        self._committer = committer
        self._limits = limits
        self._clock = clock

    async def upload_file(
        self, parts: AsyncIterator[file_service_pb2.UploadFileRequest], call: edge.Call
    ) -> file_service_pb2.UploadFileResponse:
        """Store one file, verified."""
        del call
        header = await self._header(parts)
        already_existed = not await self._library.missing([header.file_hash])
        if already_existed:
            await self._check_size(header)
        else:
            already_existed = await self._receive(header, parts)
        record = await self._remember(header)
        return file_service_pb2.UploadFileResponse(
            file=_message(record), already_existed=already_existed
        )

    async def download_file(
        self, asked: file_service_pb2.DownloadFileRequest, call: edge.Call
    ) -> None:
        """Send the bytes of a file or an output."""
        file_hash = options.file_hash("file_hash", asked.file_hash)
        for field in ("offset", "limit"):
            if getattr(asked, field) < 0:
                raise _invalid(field, "must not be negative")
        file = await self._library.open(file_hash)
        if file is None:
            raise errors.NotFoundError("file", file_hash)
        with file:
            await _send(file, asked, call)

    async def find_missing_files(
        self, asked: file_service_pb2.FindMissingFilesRequest, call: edge.Call
    ) -> file_service_pb2.FindMissingFilesResponse:
        """Which of these are not stored."""
        del call
        if len(asked.file_hashes) > limits.MAX_HASHES_PER_REQUEST:
            raise errors.LimitExceededError(
                "file_hashes",
                maximum=limits.MAX_HASHES_PER_REQUEST,
                actual=len(asked.file_hashes),
            )
        hashes = [
            options.file_hash(f"file_hashes[{index}]", file_hash)
            for index, file_hash in enumerate(asked.file_hashes)
        ]
        missing = await self._library.missing(hashes)
        return file_service_pb2.FindMissingFilesResponse(missing_hashes=missing)

    async def _header(
        self, parts: AsyncIterator[file_service_pb2.UploadFileRequest]
    ) -> file_service_pb2.UploadHeader:
        first = await anext(parts, None)
        if first is None or first.WhichOneof("part") != "header":
            raise _invalid("header", "the first message must be the header")
        header = first.header
        known.refuse_unknown("header", header)
        options.file_hash("header.file_hash", header.file_hash)
        if header.size_bytes < 0:
            raise _invalid("header.size_bytes", "must not be negative")
        if header.size_bytes > self._limits.max_file_bytes:
            raise errors.LimitExceededError(
                "max_file_bytes", maximum=self._limits.max_file_bytes, actual=header.size_bytes
            )
        for field in ("filename", "media_type"):
            if len(getattr(header, field).encode()) > limits.MAX_LABEL_BYTES:
                raise _invalid(f"header.{field}", f"is over {limits.MAX_LABEL_BYTES} bytes")
        return header

    async def _check_size(self, header: file_service_pb2.UploadHeader) -> None:
        """Refuse a wrong size for content that is here: an output has no labels yet to keep."""
        file = await self._library.open(header.file_hash)
        if file is None:
            return
        with file:
            size = await asyncio.to_thread(file.seek, 0, 2)
        if size != header.size_bytes:
            raise _invalid("header.size_bytes", f"{header.size_bytes}, but the content has {size}")

    async def _receive(
        self,
        header: file_service_pb2.UploadHeader,
        parts: AsyncIterator[file_service_pb2.UploadFileRequest],
    ) -> bool:
        with contextlib.ExitStack() as stack:
            coming = await _in_thread(
                lambda: stack.enter_context(
                    self._content.receive(header.file_hash, header.size_bytes)
                )
            )
            return await _write(coming, parts)

    async def _remember(self, header: file_service_pb2.UploadHeader) -> port.FileRecord:
        now = self._clock.now()
        record = port.FileRecord(
            file_hash=header.file_hash,
            size_bytes=header.size_bytes,
            filename=header.filename,
            media_type=header.media_type,
            created_at=now,
            last_used_at=now,
        )
        return await self._committer.write(lambda writer: writer.put_file(record))


async def _write(
    coming: receipt.Receipt, parts: AsyncIterator[file_service_pb2.UploadFileRequest]
) -> bool:
    """Take the chunks in; whether the file had been stored before."""
    async for part in parts:
        if part.WhichOneof("part") != "chunk":
            raise _invalid("chunk", "after the header only chunks may follow")
        await _in_thread(functools.partial(coming.write, part.chunk))
    return await _in_thread(coming.commit)


async def _in_thread(act: Callable[[], T]) -> T:
    """Act in a thread, and stay until it has ended, even when the call is cancelled meanwhile.

    What the thread uses is closed afterwards; a descriptor that is closed under a write may be
    another file's by the time of the write.
    """
    acting = asyncio.ensure_future(asyncio.to_thread(act))
    cancelled: asyncio.CancelledError | None = None
    while not acting.done():
        try:
            await asyncio.wait([acting])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        acting.exception()  # looked at: nobody is left to be told
        raise cancelled
    return acting.result()


async def _send(
    file: BinaryIO, asked: file_service_pb2.DownloadFileRequest, call: edge.Call
) -> None:
    size = await asyncio.to_thread(file.seek, 0, 2)
    if asked.offset > size:
        raise _invalid("offset", f"{asked.offset} is beyond the end, {size}")
    await asyncio.to_thread(file.seek, asked.offset)
    left = min(asked.limit or size, size - asked.offset)
    while left > 0:
        chunk = await asyncio.to_thread(file.read, min(left, limits.CHUNK_BYTES))
        if not chunk:
            raise errors.UnavailableError("the file ended early", retry_after_seconds=1.0)
        left -= len(chunk)
        await call.write(file_service_pb2.DownloadFileResponse(chunk=chunk))


def _message(record: port.FileRecord) -> file_service_pb2.File:
    return file_service_pb2.File(
        file_hash=record.file_hash,
        size_bytes=record.size_bytes,
        filename=record.filename,
        media_type=record.media_type,
        create_time=moments.timestamp(record.created_at),
        last_used_time=moments.timestamp(record.last_used_at),
    )


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
