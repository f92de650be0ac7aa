"""Files on their way to and from a server, always named by the hash of their content.

Promises: a file is uploaded whole or not at all, under the hash it had when it was read first; a
download appears under its name only when it is whole and its hash is right.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import grpc

from dshpc.client import errors
from dshpc.v1 import file_service_pb2, file_service_pb2_grpc

CHUNK_BYTES = 1 << 20
HASHES_PER_CALL = 10_000
"""Hashes of one FindMissingFiles call: 660 kB."""

_PROGRESS_INTERVAL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A local file as it was when it was hashed."""

    path: pathlib.Path
    file_hash: str
    size_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UploadedFile:
    """A local file whose content the server has."""

    path: pathlib.Path
    file_hash: str
    size_bytes: int
    uploaded: bool
    """False when the server had the content before."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UploadProgress:
    """How far an upload of several files is. Counts only files that the server lacks."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


OnProgress = Callable[[UploadProgress], None]


def read(path: pathlib.Path) -> LocalFile:
    """Hash a file. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        for piece in _pieces(file):
            digest.update(piece)
            size_bytes += len(piece)
    return LocalFile(path=path, file_hash=digest.hexdigest(), size_bytes=size_bytes)


def find_missing(
    stub: file_service_pb2_grpc.FileServiceStub,
    file_hashes: Iterable[str],
    *,
    deadline_seconds: float,
) -> list[str]:
    """Return those of the hashes that are not stored, each once, in the order given."""
    distinct = list(dict.fromkeys(file_hashes))
    missing: list[str] = []
    for start in range(0, len(distinct), HASHES_PER_CALL):
        request = file_service_pb2.FindMissingFilesRequest(
            file_hashes=distinct[start : start + HASHES_PER_CALL]
        )
        with errors.translated():
            missing += stub.FindMissingFiles(request, timeout=deadline_seconds).missing_hashes
    return missing


def upload_missing(
    stub: file_service_pb2_grpc.FileServiceStub,
    files: Sequence[LocalFile],
    *,
    deadline_seconds: float,
    on_progress: OnProgress | None = None,
) -> list[UploadedFile]:
    """Upload those of the files that are not stored; equal content is sent once."""
    hashes = (file.file_hash for file in files)
    lacking = set(find_missing(stub, hashes, deadline_seconds=deadline_seconds))
    to_send = {file.file_hash: file for file in files if file.file_hash in lacking}
    bytes_total = sum(file.size_bytes for file in to_send.values())
    bytes_before = 0
    for files_done, file in enumerate(to_send.values()):
        for sent_bytes in send(stub, file):
            if on_progress is not None:
                on_progress(
                    UploadProgress(
                        files_done=files_done + (sent_bytes == file.size_bytes),
                        files_total=len(to_send),
                        bytes_done=bytes_before + sent_bytes,
                        bytes_total=bytes_total,
                    )
                )
        bytes_before += file.size_bytes
    return [
        UploadedFile(
            path=file.path,
            file_hash=file.file_hash,
            size_bytes=file.size_bytes,
            uploaded=file.file_hash in to_send,
        )
        for file in files
    ]


def send(stub: file_service_pb2_grpc.FileServiceStub, file: LocalFile) -> Iterator[int]:
    """Upload a file; yields the bytes sent so far, last of all its size, when it is stored.

    Raises FileChangedError when the content is no longer the one that was hashed, and OSError when
    it cannot be read.
    """
    upload = _Upload(file)
    call = stub.UploadFile.future(upload.requests())
    try:
        while not _is_done(call):
            yield min(upload.sent_bytes, max(file.size_bytes - 1, 0))
        with errors.translated():
            call.result()
    except errors.CallError:
        upload.raise_if_unreadable()
        raise
    finally:
        call.cancel()
    upload.raise_if_unreadable()
    yield file.size_bytes


class _Upload:
    """The requests of one upload.

    gRPC asks for them in a thread of its own, so that what goes wrong while reading is kept here:
    raised there it would be lost.
    """

    def __init__(self, file: LocalFile) -> None:
        self._file = file
        self._failure: Exception | None = None
        self.sent_bytes = 0

    def requests(self) -> Iterator[file_service_pb2.UploadFileRequest]:
        """Yield the header and the chunks; stop early when the file is not what was hashed."""
        header = file_service_pb2.UploadHeader(
            file_hash=self._file.file_hash,
            size_bytes=self._file.size_bytes,
            filename=os.fsencode(self._file.path.name).decode(errors="replace"),
        )
        yield file_service_pb2.UploadFileRequest(header=header)
        digest = hashlib.sha256()
        try:
            with self._file.path.open("rb") as content:
                for chunk in _pieces(content):
                    digest.update(chunk)
                    self.sent_bytes += len(chunk)
                    if self.sent_bytes > self._file.size_bytes:
                        break
                    yield file_service_pb2.UploadFileRequest(chunk=chunk)
        except OSError as error:
            self._failure = error
            return
        if digest.hexdigest() != self._file.file_hash:
            self._failure = errors.FileChangedError(self._file.path)

    def raise_if_unreadable(self) -> None:
        """Raise what went wrong while reading, if anything did."""
        if self._failure is not None:
            raise self._failure


def fetch(stub: file_service_pb2_grpc.FileServiceStub, file_hash: str, path: pathlib.Path) -> int:
    """Download content to a path and return its size in bytes; replaces what stands there."""
    request = file_service_pb2.DownloadFileRequest(file_hash=file_hash)
    call = stub.DownloadFile(request)
    try:
        with errors.translated():
            return write(path, (message.chunk for message in call), file_hash=file_hash)
    finally:
        call.cancel()


def write(path: pathlib.Path, chunks: Iterable[bytes], *, file_hash: str) -> int:
    """Write content to a path once it is whole and its hash is right; return its size in bytes.

    A failure leaves nothing behind, and what stood under the name as it was.
    """
    digest = hashlib.sha256()
    part = path.with_name(f".dshpc-{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            size_bytes = file.tell()
        _verify(file_hash, actual_hash=digest.hexdigest())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size_bytes


def _verify(file_hash: str, *, actual_hash: str) -> None:
    if actual_hash != file_hash:
        raise errors.CorruptDownloadError(file_hash, actual_hash=actual_hash)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece


def _is_done(call: "grpc.Future[file_service_pb2.UploadFileResponse]") -> bool:
    """Wait a moment; whether the call has ended, well or badly."""
    with contextlib.suppress(grpc.FutureTimeoutError):
        call.exception(timeout=_PROGRESS_INTERVAL_SECONDS)
        return True
    return False
