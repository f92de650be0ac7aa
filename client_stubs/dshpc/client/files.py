"""Local files and bytes, always named by the hash of their content.

Promise: a file that is written here appears under its name only when it is whole and its hash is
right.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import secrets
import types
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, Self, TypeAlias

from dshpc.client import errors

CHUNK_BYTES = 1 << 20
READ_BYTES = 64 << 20
"""Most bytes that are read into memory unless the caller wants more."""

AnyPath: TypeAlias = str | os.PathLike[str]


class Source(Protocol):
    """Content that can be read from its beginning as often as needed."""

    @property
    def file_hash(self) -> str:
        """The hash it had when it was hashed."""

    @property
    def size_bytes(self) -> int:
        """The size it had then."""

    @property
    def filename(self) -> str:
        """A label for people."""

    def open(self) -> BinaryIO:
        """Open it for reading. Raises OSError when that is not possible."""

    def changed(self) -> errors.DshpcError:
        """Return the error for content that is no longer what was hashed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A local file as it was when it was hashed."""

    path: pathlib.Path
    file_hash: str
    size_bytes: int

    @property
    def filename(self) -> str:
        """The file's own name; what is not UTF-8 in it is replaced."""
        return os.fsencode(self.path.name).decode(errors="replace")

    def open(self) -> BinaryIO:
        """Open the file."""
        return self.path.open("rb")

    def changed(self) -> errors.DshpcError:
        """Return the error that names the file."""
        return errors.FileChangedError(self.path)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFile:
    """Bytes in memory."""

    content: bytes
    file_hash: str
    filename: str

    @property
    def size_bytes(self) -> int:
        """Their number."""
        return len(self.content)

    def open(self) -> BinaryIO:
        """Give them as a file."""
        return io.BytesIO(self.content)

    def changed(self) -> errors.DshpcError:
        """Return an error that only a fault of this library can raise."""
        return errors.FileChangedError(pathlib.Path(self.filename))


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


OnProgress: TypeAlias = Callable[[UploadProgress], None]


def read(path: pathlib.Path) -> LocalFile:
    """Hash a file. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        for piece in pieces(file):
            digest.update(piece)
            size_bytes += len(piece)
    return LocalFile(path=path, file_hash=digest.hexdigest(), size_bytes=size_bytes)


def in_memory(content: bytes, *, filename: str = "") -> MemoryFile:
    """Hash bytes."""
    file_hash = hashlib.sha256(content).hexdigest()
    return MemoryFile(content=content, file_hash=file_hash, filename=filename)


def uploaded(local: Iterable[LocalFile], sent: frozenset[str]) -> list[UploadedFile]:
    """Return what became of local files, when these hashes were sent."""
    return [
        UploadedFile(
            path=file.path,
            file_hash=file.file_hash,
            size_bytes=file.size_bytes,
            uploaded=file.file_hash in sent,
        )
        for file in local
    ]


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of an open file in chunks."""
    while piece := file.read(CHUNK_BYTES):
        yield piece


def write(path: pathlib.Path, chunks: Iterable[bytes], *, file_hash: str) -> int:
    """Write content to a path once it is whole and its hash is right; return its size in bytes.

    A failure leaves nothing behind, and what stood under the name as it was.
    """
    with PartFile(path, file_hash) as part:
        for chunk in chunks:
            part.write(chunk)
        return part.keep()


class SmallContent:
    """Content in memory, as long as it is small."""

    def __init__(self, file_hash: str, *, max_bytes: int) -> None:
        self._file_hash = file_hash
        self._max_bytes = max_bytes
        self._content = bytearray()

    def take(self, chunk: bytes) -> None:
        """Add the next bytes; raises TooLargeError when they are too many."""
        self._content += chunk
        if len(self._content) > self._max_bytes:
            raise errors.TooLargeError(self._file_hash, max_bytes=self._max_bytes)

    def verified(self) -> bytes:
        """Return the whole content if its hash is right."""
        _compare(self._file_hash, actual_hash=hashlib.sha256(self._content).hexdigest())
        return bytes(self._content)


class PartFile:
    """Content on its way to a path; what is not kept is gone when the block is left.

    What goes wrong is told of the path, not of the file beside it that is written first.
    """

    def __init__(self, path: pathlib.Path, file_hash: str) -> None:
        self._path = path
        self._file_hash = file_hash
        self._part = path.with_name(f".dshpc-{secrets.token_hex(8)}.part")
        self._digest = hashlib.sha256()
        with _told_of(path):
            self._file = self._part.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._digest.update(chunk)
        with _told_of(self._path):
            self._file.write(chunk)

    def keep(self) -> int:
        """Give the content its name, if its hash is right; return its size in bytes."""
        with _told_of(self._path):
            size_bytes = self._file.tell()
            self._file.close()
            _compare(self._file_hash, actual_hash=self._digest.hexdigest())
            self._part.replace(self._path)
        return size_bytes


@contextlib.contextmanager
def _told_of(path: pathlib.Path) -> Iterator[None]:
    """Have an error of the operating system name this path."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _compare(file_hash: str, *, actual_hash: str) -> None:
    if actual_hash != file_hash:
        raise errors.CorruptDownloadError(file_hash, actual_hash=actual_hash)
