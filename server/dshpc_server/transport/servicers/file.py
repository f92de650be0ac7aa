"""FileService: input files and outputs, addressed by the SHA-256 of their content."""

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import BinaryIO

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, disk, errors
from dshpc_server.batches import content as library
from dshpc_server.files import content, staying
from dshpc_server.store import committer, records
from dshpc_server.transport import edge, limits, moments, options, pages, upload_parts, uploading

_LISTING = "files"
"""What a page token of ListFiles is asked of: there are no filters."""


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
        self._uploading = uploading.Uploading(
            content=content, library=library, limits=limits, clock=clock
        )

    async def upload_file(
        self, parts: AsyncIterator[file_service_pb2.UploadFileRequest], call: edge.Call
    ) -> file_service_pb2.UploadFileResponse:
        """Store one file, verified."""
        del call
        record, already_existed = await self._uploading.take(parts)
        return file_service_pb2.UploadFileResponse(
            file=_message(record), already_existed=already_existed
        )

    async def get_upload(
        self, asked: file_service_pb2.GetUploadRequest, call: edge.Call
    ) -> file_service_pb2.GetUploadResponse:
        """How much of an upload is committed."""
        del call
        file_hash = options.file_hash("file_hash", asked.file_hash)
        record = await self._library.record(file_hash)
        if record is not None:
            return file_service_pb2.GetUploadResponse(committed_bytes=record.size_bytes)
        committed_bytes = await asyncio.to_thread(self._content.committed_bytes, file_hash)
        return file_service_pb2.GetUploadResponse(committed_bytes=committed_bytes)

    async def download_file(
        self, asked: file_service_pb2.DownloadFileRequest, call: edge.Call
    ) -> None:
        """Send the bytes of a file or an output."""
        file_hash = options.file_hash("file_hash", asked.file_hash)
        for field in ("offset", "limit"):
            if getattr(asked, field) < 0:
                raise upload_parts.invalid(field, "must not be negative")
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

    async def list_files(
        self, asked: file_service_pb2.ListFilesRequest, call: edge.Call
    ) -> file_service_pb2.ListFilesResponse:
        """The stored files, the newest first."""
        del call
        size = options.page_size(asked.page_size)
        after = pages.place(asked.page_token, _LISTING)
        found = await self._committer.read(
            lambda store: store.find_files(after=after, limit=size + 1)
        )
        page = file_service_pb2.ListFilesResponse()
        page_bytes = 0
        for count, record in enumerate(found):
            message = _message(record)
            page_bytes += message.ByteSize() + 5
            if count and (count == size or page_bytes > limits.DEFAULT_RESPONSE_BYTES):
                last = found[count - 1]
                position = records.ListPosition(at=last.created_at, name=last.file_hash)
                page.next_page_token = pages.token(position, _LISTING)
                break
            page.files.append(message)
        return page

    async def get_file(
        self, asked: file_service_pb2.GetFileRequest, call: edge.Call
    ) -> file_service_pb2.GetFileResponse:
        """What is known of one file or output."""
        del call
        file_hash = options.file_hash("file_hash", asked.file_hash)
        record = await self._library.record(file_hash)
        if record is None:
            raise errors.NotFoundError("file", file_hash)
        return file_service_pb2.GetFileResponse(file=_message(record))

    async def delete_file(
        self, asked: file_service_pb2.DeleteFileRequest, call: edge.Call
    ) -> file_service_pb2.DeleteFileResponse:
        """Remove a file or an output."""
        del call
        file_hash = options.file_hash("file_hash", asked.file_hash)
        if not await self._library.delete(file_hash):
            raise errors.NotFoundError("file", file_hash)
        return file_service_pb2.DeleteFileResponse()


async def _send(
    file: BinaryIO, asked: file_service_pb2.DownloadFileRequest, call: edge.Call
) -> None:
    with disk.asked():
        size = await asyncio.to_thread(file.seek, 0, 2)
    if asked.offset > size:
        raise upload_parts.invalid("offset", f"{asked.offset} is beyond the end, {size}")
    await asyncio.to_thread(file.seek, asked.offset)
    left = min(asked.limit or size, size - asked.offset)
    while left > 0:
        # A file that is closed while a thread reads it waits for that, and the loop with it.
        with disk.asked():
            chunk = await staying.in_thread(
                functools.partial(file.read, min(left, limits.CHUNK_BYTES))
            )
        if not chunk:
            raise errors.UnavailableError("the file ended early", retry_after_seconds=1.0)
        left -= len(chunk)
        await call.write(file_service_pb2.DownloadFileResponse(chunk=chunk))


def _message(record: records.FileRecord) -> file_service_pb2.File:
    return file_service_pb2.File(
        file_hash=record.file_hash,
        size_bytes=record.size_bytes,
        filename=record.filename,
        media_type=record.media_type,
        create_time=moments.timestamp(record.created_at),
        last_used_time=moments.timestamp(record.last_used_at),
    )
