"""Files: upload, download, list and delete them."""

import contextlib
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

from dshpc.client import errors, failures, readings, retries, uploads
from dshpc.client import files as local_files
from dshpc.client.sync import connection
from dshpc.v1 import file_service_pb2


class Files(connection.Connection):
    """The calls about files and outputs."""

    def upload(self, path: local_files.AnyPath) -> str:
        """Store a local file, unless it is stored already, and return its hash."""
        return self.upload_missing([path])[0].file_hash

    def upload_bytes(self, data: bytes, *, filename: str = "") -> str:
        """Store bytes, unless they are stored already, and return their hash."""
        source = local_files.in_memory(data, filename=filename)
        self._store([source], None)
        return source.file_hash

    def upload_missing(
        self,
        paths: Iterable[local_files.AnyPath],
        on_progress: local_files.OnProgress | None = None,
    ) -> list[local_files.UploadedFile]:
        """Store those of the local files that are not stored; one answer a path, in order.

        `on_progress` is called in this thread, a few times a second. An upload that is cut off
        goes on where it was. Raises FileChangedError when a file changes meanwhile.
        """
        local = [local_files.read(pathlib.Path(path)) for path in paths]
        return local_files.uploaded(local, self._store(local, on_progress))

    def find_missing(self, file_hashes: Iterable[str]) -> list[str]:
        """Return those of the hashes that are not stored, each once, in the order given."""
        missing: list[str] = []
        for request in uploads.questions(file_hashes):
            missing += self._call(self._files.FindMissingFiles, request).missing_hashes
        return missing

    def download(self, file_hash: str, path: local_files.AnyPath) -> int:
        """Write a file or an output to `path` and return its size in bytes.

        The name appears only when the content is whole and its hash is right, and then replaces
        what stood there. A download that is cut off goes on where it was. Raises
        CorruptDownloadError for other bytes.
        """
        reading = readings.Download(file_hash, retries.Backoff(self._retry))
        with local_files.PartFile(pathlib.Path(path), file_hash) as part:
            with contextlib.closing(self._read(self._files.DownloadFile, reading)) as responses:
                for response in responses:
                    part.write(response.chunk)
            return part.keep()

    def read(self, file_hash: str, *, max_bytes: int = local_files.READ_BYTES) -> bytes:
        """Return the bytes of a small file or output; TooLargeError if they are over `max_bytes`.

        Raises CorruptDownloadError for other bytes.
        """
        content = local_files.SmallContent(file_hash, max_bytes=max_bytes)
        backoff = retries.Backoff(self._retry)
        reading = readings.Download(file_hash, backoff, limit_bytes=max_bytes + 1)
        with contextlib.closing(self._read(self._files.DownloadFile, reading)) as responses:
            for response in responses:
                content.take(response.chunk)
        return content.verified()

    def file(self, file_hash: str) -> file_service_pb2.File:
        """Return one stored file or output; an output has no labels."""
        request = file_service_pb2.GetFileRequest(file_hash=file_hash)
        return self._call(self._files.GetFile, request).file

    def files(self, *, page_size: int = 0) -> Iterator[file_service_pb2.File]:
        """Yield the stored files, the newest first: uploads, and outputs too long for inline."""
        request = file_service_pb2.ListFilesRequest(page_size=page_size)
        for page in self._pages(self._files.ListFiles, request):
            yield from page.files

    def delete_file(self, file_hash: str) -> None:
        """Remove a file or an output. Raises PreconditionError while an unfinished job needs it."""
        request = file_service_pb2.DeleteFileRequest(file_hash=file_hash)
        self._call(self._files.DeleteFile, request)

    def _store(
        self, sources: Sequence[local_files.Source], on_progress: local_files.OnProgress | None
    ) -> frozenset[str]:
        """Upload what is missing; the hashes of that."""
        missing = self.find_missing(source.file_hash for source in sources)
        plan = uploads.Plan(sources, missing, on_progress)
        for source in plan.to_send:
            self._send(uploads.Upload(source, self._retry), plan)
            plan.stored(source)
        return plan.hashes

    def _send(self, upload: uploads.Upload, plan: uploads.Plan) -> None:
        """Upload one content over as many calls as it takes."""
        while True:
            try:
                if upload.must_ask:
                    upload.committed(self._call(self._files.GetUpload, upload.question()))
                self._send_once(upload, plan)
            except errors.CallError as error:
                time.sleep(upload.pause_seconds(error))
            else:
                return

    def _send_once(self, upload: uploads.Upload, plan: uploads.Plan) -> None:
        sending = uploads.Sending(self._files, upload)
        try:
            while not sending.is_done():
                plan.sent(upload.sent_bytes)
            with failures.translated(self.target):
                sending.finish()
        finally:
            sending.leave()
