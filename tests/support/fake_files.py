"""The fake server's FileService: content in memory, uploads that are kept when they are cut off."""

from collections.abc import Iterator

import grpc

from dshpc.v1 import file_service_pb2, file_service_pb2_grpc
from support import fake_rows, fake_script

PAGE_FILES = 2
DOWNLOAD_PARTS = 4


class FakeFiles(fake_script.Script, file_service_pb2_grpc.FileServiceServicer):
    """Stores, keeps, gives and removes."""

    def __init__(self) -> None:
        super().__init__()
        self.corrupts_downloads = False
        self.corrupts_kept = False
        """What is kept of a cut upload is not what was sent."""
        self.stored: dict[str, bytes] = {}
        self.kept: dict[str, bytes] = {}
        """What came of uploads that were cut off."""
        self.needed: set[str] = set()
        """Files that may not be removed."""
        self.uploads: list[file_service_pb2.UploadHeader] = []
        self.chunk_bytes: list[int] = []
        self.downloads: list[file_service_pb2.DownloadFileRequest] = []
        self.find_missing_calls = 0

    def UploadFile(  # noqa: N802  # the contract's name
        self,
        request_iterator: Iterator[file_service_pb2.UploadFileRequest],
        context: grpc.ServicerContext,
    ) -> file_service_pb2.UploadFileResponse:
        self.enter("UploadFile", context)
        cut = self.next_cut("UploadFile")
        header = next(request_iterator).header
        self.uploads.append(header)
        content = self.kept.pop(header.file_hash, b"")[: header.write_offset]
        if len(content) < header.write_offset:
            fake_script.abort(context, grpc.StatusCode.INVALID_ARGUMENT, "write_offset is beyond")
        for number, request in enumerate(request_iterator, start=1):
            self.chunk_bytes.append(len(request.chunk))
            content += request.chunk
            if number == cut:
                self.kept[header.file_hash] = bytes(len(content)) if self.corrupts_kept else content
                self.cut(context)
        if len(content) != header.size_bytes or fake_rows.sha256(content) != header.file_hash:
            fake_script.abort(
                context, grpc.StatusCode.INVALID_ARGUMENT, "the content has another hash"
            )
        self.stored[header.file_hash] = content
        return file_service_pb2.UploadFileResponse(file=self._file(header.file_hash))

    def GetUpload(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.GetUploadRequest, context: grpc.ServicerContext
    ) -> file_service_pb2.GetUploadResponse:
        self.enter("GetUpload", context)
        known = self.stored.get(request.file_hash) or self.kept.get(request.file_hash, b"")
        return file_service_pb2.GetUploadResponse(committed_bytes=len(known))

    def DownloadFile(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.DownloadFileRequest, context: grpc.ServicerContext
    ) -> Iterator[file_service_pb2.DownloadFileResponse]:
        self.enter("DownloadFile", context)
        self.downloads.append(request)
        cut = self.next_cut("DownloadFile")
        content = self._content(request.file_hash, context)
        end = request.offset + request.limit if request.limit else len(content)
        part_bytes = -(-len(content) // DOWNLOAD_PARTS) or 1
        wanted = content[request.offset : end]
        for number, start in enumerate(range(0, len(wanted), part_bytes)):
            if number == cut:
                self.cut(context)
            yield file_service_pb2.DownloadFileResponse(chunk=wanted[start : start + part_bytes])
        if self.corrupts_downloads:
            yield file_service_pb2.DownloadFileResponse(chunk=b"!")

    def FindMissingFiles(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.FindMissingFilesRequest, context: grpc.ServicerContext
    ) -> file_service_pb2.FindMissingFilesResponse:
        self.enter("FindMissingFiles", context)
        self.find_missing_calls += 1
        missing = [h for h in request.file_hashes if h not in self.stored]
        return file_service_pb2.FindMissingFilesResponse(missing_hashes=missing)

    def ListFiles(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.ListFilesRequest, context: grpc.ServicerContext
    ) -> file_service_pb2.ListFilesResponse:
        self.enter("ListFiles", context)
        start = int(request.page_token or 0)
        end = start + PAGE_FILES
        hashes = list(self.stored)
        return file_service_pb2.ListFilesResponse(
            files=map(self._file, hashes[start:end]),
            next_page_token=str(end) if end < len(hashes) else "",
        )

    def GetFile(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.GetFileRequest, context: grpc.ServicerContext
    ) -> file_service_pb2.GetFileResponse:
        self.enter("GetFile", context)
        self._content(request.file_hash, context)
        return file_service_pb2.GetFileResponse(file=self._file(request.file_hash))

    def DeleteFile(  # noqa: N802  # the contract's name
        self, request: file_service_pb2.DeleteFileRequest, context: grpc.ServicerContext
    ) -> file_service_pb2.DeleteFileResponse:
        self.enter("DeleteFile", context)
        self._content(request.file_hash, context)
        if request.file_hash in self.needed:
            fake_script.abort(
                context, grpc.StatusCode.FAILED_PRECONDITION, "an unfinished job needs the file"
            )
        del self.stored[request.file_hash]
        return file_service_pb2.DeleteFileResponse()

    def _content(self, file_hash: str, context: grpc.ServicerContext) -> bytes:
        if file_hash not in self.stored:
            fake_script.abort(context, grpc.StatusCode.NOT_FOUND, f"file '{file_hash}' not found")
        return self.stored[file_hash]

    def _file(self, file_hash: str) -> file_service_pb2.File:
        names = [header.filename for header in self.uploads if header.file_hash == file_hash]
        return file_service_pb2.File(
            file_hash=file_hash,
            size_bytes=len(self.stored[file_hash]),
            filename=names[0] if names else "",
        )
