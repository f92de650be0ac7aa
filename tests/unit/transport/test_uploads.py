"""Uploads that end early: what a thread still writes to is closed only when the thread is done."""

import asyncio
import hashlib
import pathlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, errors
from dshpc_server.batches import content as library
from dshpc_server.files import content, partial
from dshpc_server.store import committer, port
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder
from dshpc_server.transport.servicers import file
from support import transport_values as values

DATA = b"sample,value\n1,2\n"
NO_CALL = cast("Any", None)
DEADLINE_SECONDS = 30.0


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(tmp_path / "files")


@pytest.fixture
async def writing(tmp_path: pathlib.Path) -> AsyncIterator[committer.Committer]:
    store = SqlStore.open(tmp_path / "store.db")
    async with committer.Committer(store, on_changes=lambda _: None) as made:
        yield made
    store.close()


@pytest.fixture
def servicer(kept: content.ContentStore, writing: committer.Committer) -> file.FileServicer:
    return file.FileServicer(
        content=kept,
        library=library.Library(
            content=kept, committer=writing, encoder=encoder.MultiJobResultEncoder()
        ),
        committer=writing,
        limits=values.LIMITS,
        clock=clock.SystemClock(),
    )


def header(data: bytes = DATA, *, size: int | None = None) -> file_service_pb2.UploadFileRequest:
    return file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(
            file_hash=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data) if size is None else size,
        )
    )


async def sent(
    *parts: file_service_pb2.UploadFileRequest, then_wait: bool = False
) -> AsyncIterator[file_service_pb2.UploadFileRequest]:
    for part in parts:
        yield part
    if then_wait:
        await asyncio.Event().wait()


CHUNK = file_service_pb2.UploadFileRequest(chunk=DATA)


def incoming(folder: pathlib.Path) -> list[pathlib.Path]:
    return list((folder / "files" / "incoming").iterdir())


class SlowDisk:
    """A write that stays in its thread until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self._let_go = threading.Event()
        self._write = partial.Partial.write

        def write(to: partial.Partial, chunk: bytes) -> None:
            self._held(to, chunk)

        monkeypatch.setattr(partial.Partial, "write", write)

    def let_go(self) -> None:
        self._let_go.set()

    def _held(self, to: partial.Partial, chunk: bytes) -> None:
        self.entered.set()
        assert self._let_go.wait(DEADLINE_SECONDS)
        self._write(to, chunk)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.let_go()


async def test_a_cancelled_upload_waits_for_the_write_that_is_under_way(
    servicer: file.FileServicer, slow_disk: SlowDisk, tmp_path: pathlib.Path
) -> None:
    upload = asyncio.ensure_future(
        servicer.upload_file(sent(header(), CHUNK, then_wait=True), NO_CALL)
    )
    assert await asyncio.to_thread(slow_disk.entered.wait, DEADLINE_SECONDS)
    for _ in range(2):  # the client's, and the server's own
        upload.cancel()
        await asyncio.sleep(0)
    assert len(incoming(tmp_path)) == 1
    assert not upload.done()
    slow_disk.let_go()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert incoming(tmp_path) == []


async def test_an_upload_cancelled_between_chunks_leaves_nothing(
    servicer: file.FileServicer, tmp_path: pathlib.Path
) -> None:
    reached = asyncio.Event()

    async def parts() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield header(size=2 * len(DATA))
        yield CHUNK
        reached.set()
        await asyncio.Event().wait()

    upload = asyncio.ensure_future(servicer.upload_file(parts(), NO_CALL))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await reached.wait()
    assert len(incoming(tmp_path)) == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert incoming(tmp_path) == []


async def test_an_upload_cancelled_while_it_begins_leaves_nothing(
    servicer: file.FileServicer,
    kept: content.ContentStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    entered, let_go = threading.Event(), threading.Event()
    receive = kept.receive

    def slowly(file_hash: str, size_bytes: int) -> object:
        begun = receive(file_hash, size_bytes)
        entered.set()
        assert let_go.wait(DEADLINE_SECONDS)
        return begun

    monkeypatch.setattr(kept, "receive", slowly)
    upload = asyncio.ensure_future(servicer.upload_file(sent(header(), CHUNK), NO_CALL))
    assert await asyncio.to_thread(entered.wait, DEADLINE_SECONDS)
    upload.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert incoming(tmp_path) == []


async def test_an_error_of_a_thread_is_the_calls(servicer: file.FileServicer) -> None:
    with pytest.raises(errors.InvalidRequestError, match="SHA-256"):
        await servicer.upload_file(
            sent(header(b"x" * len(DATA)), CHUNK),
            NO_CALL,
        )


@pytest.mark.parametrize("announced", [0, len(DATA) - 1, len(DATA) + 1])
async def test_content_that_is_here_is_not_labelled_with_a_wrong_size(
    servicer: file.FileServicer,
    kept: content.ContentStore,
    writing: committer.Committer,
    announced: int,
) -> None:
    kept.put(DATA)  # an output, say: content without labels
    with pytest.raises(errors.InvalidRequestError, match="size_bytes"):
        await servicer.upload_file(sent(header(size=announced)), NO_CALL)
    answer = await servicer.upload_file(sent(header()), NO_CALL)
    assert answer.already_existed
    assert answer.file.size_bytes == len(DATA)

    def labels(store: port.Reader) -> port.FileRecord | None:
        return store.find_file(header().header.file_hash)

    record = await writing.read(labels)
    assert record is not None
    assert record.size_bytes == len(DATA)
