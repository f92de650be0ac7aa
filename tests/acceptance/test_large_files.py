"""A file of 1 GiB goes up, is cut and gone on with, and comes down, in constant memory."""

import hashlib
import os
import pathlib
import re
import threading
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import file_service_pb2
from support import calls, live_server

CHUNK_BYTES = 1 << 20
CHUNKS = 1024
MAX_MEMORY_BYTES = 150_000_000
DEADLINE_SECONDS = 600.0


class Content:
    """A random block again and again, each time with its number: no two chunks are equal."""

    size_bytes = CHUNKS * CHUNK_BYTES

    def __init__(self) -> None:
        self._block = os.urandom(CHUNK_BYTES - 8)
        digest = hashlib.sha256()
        for number in range(CHUNKS):
            digest.update(self.chunk(number))
        self.file_hash = digest.hexdigest()

    def chunk(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._block

    def parts(self, first: int, count: int) -> Iterator[file_service_pb2.UploadFileRequest]:
        """The header, and so many chunks."""
        yield file_service_pb2.UploadFileRequest(
            header=file_service_pb2.UploadHeader(
                file_hash=self.file_hash,
                size_bytes=self.size_bytes,
                write_offset=first * CHUNK_BYTES,
            )
        )
        for number in range(first, first + count):
            yield file_service_pb2.UploadFileRequest(chunk=self.chunk(number))


@pytest.mark.timeout(DEADLINE_SECONDS)  # it moves 4 GiB, also on a machine that has more to do
def test_a_large_file_goes_up_and_down_in_constant_memory(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    content = Content()
    with (
        live_server.as_process(tmp_path, methods_dir) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        half = CHUNKS // 2
        _upload_and_cut(service, content, half)
        answer = service.files.UploadFile(
            content.parts(half, CHUNKS - half), timeout=DEADLINE_SECONDS
        )
        assert answer.file.size_bytes == content.size_bytes
        assert _hash_of_download(service, content.file_hash) == content.file_hash
        peak_bytes = _peak_memory_bytes(server.process.pid)
        service.files.DeleteFile(file_service_pb2.DeleteFileRequest(file_hash=content.file_hash))
    assert peak_bytes < MAX_MEMORY_BYTES
    left = [path for path in (server.data_dir / "files").rglob("*") if path.is_file()]
    assert left == []


def _upload_and_cut(service: calls.Service, content: Content, count: int) -> None:
    asked = file_service_pb2.GetUploadRequest(file_hash=content.file_hash)
    cut = threading.Event()

    def parts() -> Iterator[file_service_pb2.UploadFileRequest]:
        yield from content.parts(0, count)
        cut.wait(DEADLINE_SECONDS)

    call = service.files.UploadFile.future(parts(), timeout=DEADLINE_SECONDS)
    live_server.wait_for(
        lambda: service.files.GetUpload(asked).committed_bytes == count * CHUNK_BYTES,
        "the first half to come",
        seconds=DEADLINE_SECONDS,
    )
    call.cancel()
    cut.set()


def _hash_of_download(service: calls.Service, file_hash: str) -> str:
    digest = hashlib.sha256()
    asked = file_service_pb2.DownloadFileRequest(file_hash=file_hash)
    for part in service.files.DownloadFile(asked, timeout=DEADLINE_SECONDS):
        digest.update(part.chunk)
    return digest.hexdigest()


def _peak_memory_bytes(process_id: int) -> int:
    """The most memory that this process has had resident."""
    status = pathlib.Path(f"/proc/{process_id}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
