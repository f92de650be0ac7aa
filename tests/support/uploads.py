"""Uploads in small chunks, and such as stop in the middle until the test says more."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator

from dshpc.v1 import file_service_pb2
from support import calls, live_server, site

CHUNK_BYTES = 1_000
CHUNKS = 12
SIZE_BYTES = CHUNKS * CHUNK_BYTES + 7
DEADLINE_SECONDS = 60.0


def content_of(name: str) -> bytes:
    """Some bytes of their own, a few chunks long and a bit."""
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * CHUNK_BYTES)[:SIZE_BYTES]


def parts(
    content: bytes, offset: int = 0, *, file_hash: str = "", size_bytes: int | None = None
) -> Iterator[file_service_pb2.UploadFileRequest]:
    """The messages of an upload from there on."""
    yield file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(
            file_hash=file_hash or site.hash_of(content),
            size_bytes=len(content) if size_bytes is None else size_bytes,
            write_offset=offset,
        )
    )
    for first in range(offset, len(content), CHUNK_BYTES):
        yield file_service_pb2.UploadFileRequest(chunk=content[first : first + CHUNK_BYTES])


def committed(service: calls.Service, file_hash: str) -> int:
    """How much of an upload need not be sent again."""
    asked = file_service_pb2.GetUploadRequest(file_hash=file_hash)
    return service.files.GetUpload(asked, timeout=DEADLINE_SECONDS).committed_bytes


def send(
    service: calls.Service, content: bytes, offset: int = 0
) -> file_service_pb2.UploadFileResponse:
    """Upload all from there on."""
    return service.files.UploadFile(parts(content, offset), timeout=DEADLINE_SECONDS)


class Held:
    """An upload that has sent its first chunks and then waits."""

    def __init__(
        self,
        service: calls.Service,
        content: bytes,
        chunks: int,
        *,
        offset: int = 0,
        file_hash: str = "",
    ) -> None:
        self._let_go = threading.Event()
        self.file_hash = file_hash or site.hash_of(content)
        messages = parts(content, offset, file_hash=self.file_hash)

        def some() -> Iterator[file_service_pb2.UploadFileRequest]:
            for _ in range(chunks + 1):
                yield next(messages)
            self._let_go.wait(DEADLINE_SECONDS)
            yield from messages

        self.call = service.files.UploadFile.future(some(), timeout=DEADLINE_SECONDS)
        live_server.wait_for(
            lambda: committed(service, self.file_hash) == offset + chunks * CHUNK_BYTES,
            f"{chunks} chunks to come",
        )

    def cut(self) -> None:
        """Cancel the call; the server may notice later."""
        self.call.cancel()
        self._let_go.set()

    def go_on(self) -> None:
        """Send the rest."""
        self._let_go.set()


@contextlib.contextmanager
def held(
    service: calls.Service, content: bytes, chunks: int, *, offset: int = 0, file_hash: str = ""
) -> Iterator[Held]:
    """Send so many chunks; what is still open at the end is cut."""
    upload = Held(service, content, chunks, offset=offset, file_hash=file_hash)
    try:
        yield upload
    finally:
        upload.cut()
