"""Files, for asyncio: upload, download, list and delete them.

Local files are read, hashed and written in threads; the event loop goes on meanwhile.
"""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Iterable, Sequence

from dshpc.client import errors, failures, readings, retries, uploads
from dshpc.client import files as local_files
from dshpc.client.aio import connection
from dshpc.v1 import file_service_pb2


class Files(connection.Connection):
    """The calls about files and outputs."""

    async def upload(self, path: local_files.AnyPath) -> str:
        """Store a local file, unless it is stored already, and return its hash."""
        return (await self.upload_missing([path]))[0].file_hash

    async def upload_bytes(self, data: bytes, *, filename: str = "") -> str:
        """Store bytes, unless they are stored already, and return their hash."""
        source = await asyncio.to_thread(local_files.in_memory, data, filename=filename)
        await self._store([source], None)
        return source.file_hash

    async def upload_missing(
        self,
        paths: Iterable[local_files.AnyPath],
        on_progress: local_files.OnProgress | None = None,
    ) -> list[local_files.UploadedFile]:
        """Store those of the local files that are not stored, as `Client.upload_missing`.

        `on_progress` is called in the event loop, a few times a second.
        """
        local = [await asyncio.to_thread(local_files.read, pathlib.Path(path)) for path in paths]
        return local_files.uploaded(local, await self._store(local, on_progress))

    async def find_missing(self, file_hashes: Iterable[str]) -> list[str]:
        """Return those of the hashes that are not stored, each once, in the order given."""
        missing: list[str] = []
        for request in uploads.questions(file_hashes):
            answer = await self._call(self._files.FindMissingFiles, request)
            missing += answer.missing_hashes
        return missing

    async def download(self, file_hash: str, path: local_files.AnyPath) -> int:
        """Write a file or an output to `path` and return its size, as `Client.download`."""
        reading = readings.Download(file_hash, retries.Backoff(self._retry))
        with local_files.PartFile(pathlib.Path(path), file_hash) as part:
            async with contextlib.aclosing(
                self._read(self._files.DownloadFile, reading)
            ) as responses:
                async for response in responses:
                    await asyncio.to_thread(part.write, response.chunk)
            return await asyncio.to_thread(part.keep)

    async def read(self, file_hash: str, *, max_bytes: int = local_files.READ_BYTES) -> bytes:
        """Return the bytes of a small file or output, as `Client.read`."""
        content = local_files.SmallContent(file_hash, max_bytes=max_bytes)
        backoff = retries.Backoff(self._retry)
        reading = readings.Download(file_hash, backoff, limit_bytes=max_bytes + 1)
        async with contextlib.aclosing(self._read(self._files.DownloadFile, reading)) as responses:
            async for response in responses:
                content.take(response.chunk)
        return await asyncio.to_thread(content.verified)

    async def file(self, file_hash: str) -> file_service_pb2.File:
        """Return one stored file or output; an output has no labels."""
        request = file_service_pb2.GetFileRequest(file_hash=file_hash)
        return (await self._call(self._files.GetFile, request)).file

    async def files(self, *, page_size: int = 0) -> AsyncIterator[file_service_pb2.File]:
        """Yield the stored files, the newest first: uploads, and outputs too long for inline."""
        request = file_service_pb2.ListFilesRequest(page_size=page_size)
        async for page in self._pages(self._files.ListFiles, request):
            for file in page.files:
                yield file

    async def delete_file(self, file_hash: str) -> None:
        """Remove a file or an output. Raises PreconditionError while an unfinished job needs it."""
        request = file_service_pb2.DeleteFileRequest(file_hash=file_hash)
        await self._call(self._files.DeleteFile, request)

    async def _store(
        self, sources: Sequence[local_files.Source], on_progress: local_files.OnProgress | None
    ) -> frozenset[str]:
        """Upload what is missing; the hashes of that."""
        missing = await self.find_missing(source.file_hash for source in sources)
        plan = uploads.Plan(sources, missing, on_progress)
        for source in plan.to_send:
            await self._send(uploads.Upload(source, self._retry), plan)
            plan.stored(source)
        return plan.hashes

    async def _send(self, upload: uploads.Upload, plan: uploads.Plan) -> None:
        """Upload one content over as many calls as it takes."""
        while True:
            try:
                if upload.must_ask:
                    answer = await self._call(self._files.GetUpload, upload.question())
                    upload.committed(answer)
                await self._send_once(upload, plan)
            except errors.CallError as error:
                await asyncio.sleep(upload.pause_seconds(error))
            else:
                return

    async def _send_once(self, upload: uploads.Upload, plan: uploads.Plan) -> None:
        sending = uploads.Sending(self._uploads, upload)
        try:
            while not await asyncio.to_thread(sending.is_done):
                plan.sent(upload.sent_bytes)
            with failures.translated(self.target):
                sending.finish()
        finally:
            sending.leave()
