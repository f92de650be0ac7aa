"""Uploads that end early: what a thread still writes to is closed only when the thread is done, and
what came is kept for the client to go on with."""

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dshpc.v1 import file_service_pb2
from dshpc_server import errors
from dshpc_server.files import content, partial, receipt
from dshpc_server.store import committer
from dshpc_server.transport import upload_parts, uploading
from dshpc_server.transport.servicers import file
from support import methods_site
from support import transport_uploads as uploads
from support import transport_values as values
from support.transport_uploads import CHUNK, DATA, DEADLINE_SECONDS, HASH, NO_CALL


@pytest.fixture
def servicer(kept: content.ContentStore, writing: committer.Committer) -> file.FileServicer:
    return uploads.servicer_of(kept, writing, values.within(upload_stall_seconds=DEADLINE_SECONDS))


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
        servicer.upload_file(uploads.sent(uploads.header(), CHUNK, then_wait=True), NO_CALL)
    )
    assert await asyncio.to_thread(slow_disk.entered.wait, DEADLINE_SECONDS)
    for _ in range(2):  # the client's, and the server's own
        upload.cancel()
        await asyncio.sleep(0)
    assert len(uploads.incoming(tmp_path)) == 1
    assert not upload.done()
    slow_disk.let_go()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert [path.read_bytes() for path in uploads.incoming(tmp_path)] == [DATA]
    assert await uploads.committed_bytes(servicer) == len(DATA)


async def test_of_an_upload_cancelled_between_chunks_what_came_is_kept(
    servicer: file.FileServicer, tmp_path: pathlib.Path
) -> None:
    reached = asyncio.Event()

    async def parts() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield uploads.header(size=2 * len(DATA))
        yield CHUNK
        reached.set()
        await asyncio.Event().wait()

    upload = asyncio.ensure_future(servicer.upload_file(parts(), NO_CALL))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await reached.wait()
    assert len(uploads.incoming(tmp_path)) == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert [path.read_bytes() for path in uploads.incoming(tmp_path)] == [DATA]


async def test_an_upload_cancelled_while_it_begins_leaves_nothing(
    servicer: file.FileServicer,
    kept: content.ContentStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    entered, let_go = threading.Event(), threading.Event()
    receive = kept.receive

    def slowly(*asked: Any) -> object:  # noqa: ANN401 - whatever it is asked
        begun = receive(*asked)
        entered.set()
        assert let_go.wait(DEADLINE_SECONDS)
        return begun

    monkeypatch.setattr(kept, "receive", slowly)
    upload = asyncio.ensure_future(
        servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    )
    assert await asyncio.to_thread(entered.wait, DEADLINE_SECONDS)
    upload.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert uploads.incoming(tmp_path) == []


async def test_a_client_that_sends_nothing_is_let_go_and_what_came_is_kept(
    kept: content.ContentStore, writing: committer.Committer
) -> None:
    impatient = uploads.servicer_of(kept, writing, values.within(upload_stall_seconds=0.05))
    with pytest.raises(errors.LimitExceededError, match=r"sent only 9 bytes for 0\.05 s"):
        await impatient.upload_file(
            uploads.sent(uploads.header(), uploads.chunk(DATA[:9]), then_wait=True), NO_CALL
        )
    assert await uploads.committed_bytes(impatient) == 9
    with pytest.raises(errors.LimitExceededError, match="sent nothing"):
        await impatient.upload_file(uploads.sent(then_wait=True), NO_CALL)


@pytest.mark.parametrize("size", [0, 1, upload_parts.LEAST_BYTES // 2 - 1])
async def test_a_client_that_sends_next_to_nothing_is_let_go_and_what_came_is_kept(
    kept: content.ContentStore, writing: committer.Committer, size: int
) -> None:
    waiting = methods_site.HandClock()
    sent = 0

    async def drops() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        nonlocal sent
        yield uploads.header(size=1 << 20)
        while sent < 1000:
            waiting.advance(DEADLINE_SECONDS / 2)
            sent += 1
            yield uploads.chunk(b"x" * size)

    patient = values.within(upload_stall_seconds=DEADLINE_SECONDS)
    servicer = uploads.servicer_of(kept, writing, patient, waiting)
    said = f"only {2 * size} bytes" if size else "nothing"
    with pytest.raises(errors.LimitExceededError, match=f"sent {said} for 30 s"):
        await servicer.upload_file(drops(), NO_CALL)
    assert sent == 2
    assert await uploads.committed_bytes(servicer) == 2 * size


async def test_a_client_that_sends_enough_may_take_its_time(
    kept: content.ContentStore, writing: committer.Committer
) -> None:
    waiting = methods_site.HandClock()
    pieces = [bytes([number]) * upload_parts.LEAST_BYTES for number in range(10)]

    async def slowly() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield uploads.header(b"".join(pieces))
        for piece in pieces:
            waiting.advance(DEADLINE_SECONDS - 1)
            yield uploads.chunk(piece)

    patient = values.within(upload_stall_seconds=DEADLINE_SECONDS)
    servicer = uploads.servicer_of(kept, writing, patient, waiting)
    assert not (await servicer.upload_file(slowly(), NO_CALL)).already_existed


async def test_what_is_refused_is_removed_in_a_thread_of_its_own(
    servicer: file.FileServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = receipt.Receipt.__exit__
    threads: list[threading.Thread] = []

    def noted(coming: receipt.Receipt, *how: Any) -> None:  # noqa: ANN401 - as it ends
        threads.append(threading.current_thread())
        end(coming, *how)

    monkeypatch.setattr(receipt.Receipt, "__exit__", noted)
    with pytest.raises(errors.InvalidRequestError):
        await servicer.upload_file(
            uploads.sent(uploads.header(), uploads.chunk(DATA[::-1])), NO_CALL
        )
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_connection_that_is_lost_looks_like_the_end_at_first_and_what_came_is_kept(
    servicer: file.FileServicer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "END_SECONDS", DEADLINE_SECONDS)
    ended = asyncio.Event()

    async def parts() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield uploads.header()
        yield uploads.chunk(DATA[:9])
        ended.set()

    upload = asyncio.ensure_future(servicer.upload_file(parts(), NO_CALL))
    await ended.wait()
    await asyncio.sleep(0)
    assert not upload.done()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert [path.read_bytes() for path in uploads.incoming(tmp_path)] == [DATA[:9]]


async def test_an_upload_cancelled_while_it_is_stored_is_stored_with_its_labels(
    servicer: file.FileServicer,
    kept: content.ContentStore,
    writing: committer.Committer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entered, let_go = threading.Event(), threading.Event()
    commit = receipt.Receipt.commit

    def slowly(coming: receipt.Receipt) -> bool:
        entered.set()
        assert let_go.wait(DEADLINE_SECONDS)
        return commit(coming)

    monkeypatch.setattr(receipt.Receipt, "commit", slowly)
    upload = asyncio.ensure_future(
        servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    )
    assert await asyncio.to_thread(entered.wait, DEADLINE_SECONDS)
    upload.cancel()
    await asyncio.sleep(0)
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert kept.is_intact(HASH)
    assert await writing.read(lambda store: store.find_file(HASH)) is not None
