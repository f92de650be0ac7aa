"""What uploads are answered with, and what they go on from."""

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest

from dshpc.v1 import file_service_pb2
from dshpc_server import errors
from dshpc_server.files import content, receipt
from dshpc_server.store import committer, port, records
from dshpc_server.transport import uploading
from dshpc_server.transport.servicers import file
from support import methods_site
from support import transport_uploads as uploads
from support import transport_values as values
from support.transport_uploads import CHUNK, DATA, DEADLINE_SECONDS, NO_CALL

Upload: TypeAlias = "asyncio.Future[file_service_pb2.UploadFileResponse]"


@pytest.fixture
def servicer(kept: content.ContentStore, writing: committer.Committer) -> file.FileServicer:
    return uploads.servicer_of(kept, writing, values.within(upload_stall_seconds=DEADLINE_SECONDS))


async def test_an_error_of_a_thread_is_the_calls(servicer: file.FileServicer) -> None:
    with pytest.raises(errors.InvalidRequestError, match="SHA-256"):
        await servicer.upload_file(
            uploads.sent(uploads.header(b"x" * len(DATA)), CHUNK),
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
        await servicer.upload_file(uploads.sent(uploads.header(size=announced)), NO_CALL)
    answer = await servicer.upload_file(uploads.sent(uploads.header()), NO_CALL)
    assert answer.already_existed
    assert answer.file.size_bytes == len(DATA)

    def labels(store: port.Reader) -> records.FileRecord | None:
        return store.find_file(uploads.header().header.file_hash)

    record = await writing.read(labels)
    assert record is not None
    assert record.size_bytes == len(DATA)


async def test_an_upload_goes_on_in_the_middle_of_a_chunk(servicer: file.FileServicer) -> None:
    upload = asyncio.ensure_future(
        servicer.upload_file(
            uploads.sent(uploads.header(), uploads.chunk(DATA[:9]), then_wait=True), NO_CALL
        )
    )
    await uploads.until_committed(servicer, 9)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    answer = await servicer.upload_file(
        uploads.sent(uploads.header(write_offset=4), uploads.chunk(DATA[4:])), NO_CALL
    )
    assert not answer.already_existed
    assert await uploads.committed_bytes(servicer) == len(DATA)


async def test_an_upload_that_stalled_and_was_taken_over_is_told_at_its_next_chunk(
    tmp_path: pathlib.Path, writing: committer.Committer
) -> None:
    clock = methods_site.HandClock()
    servicer = uploads.servicer_of(
        content.ContentStore(tmp_path / "files", clock=clock), writing, values.within()
    )
    taken_over = asyncio.Event()

    async def parts() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield uploads.header()
        yield uploads.chunk(DATA[:9])
        await taken_over.wait()
        yield uploads.chunk(DATA[9:])

    first = asyncio.ensure_future(servicer.upload_file(parts(), NO_CALL))
    await uploads.until_committed(servicer, 9)
    clock.advance(receipt.STALLED_SECONDS)
    await servicer.upload_file(
        uploads.sent(uploads.header(write_offset=9), uploads.chunk(DATA[9:])), NO_CALL
    )
    taken_over.set()
    with pytest.raises(errors.SupersededError):
        await first
    assert await uploads.committed_bytes(servicer) == len(DATA)


async def test_an_upload_that_was_stored_by_another_as_it_was_to_go_on_is_answered(
    servicer: file.FileServicer, kept: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = kept.receive

    def stored_before(*asked: Any) -> object:  # noqa: ANN401 - whatever it is asked
        kept.put(DATA)
        return receive(*asked)

    monkeypatch.setattr(kept, "receive", stored_before)
    answer = await servicer.upload_file(uploads.sent(uploads.header(write_offset=9)), NO_CALL)
    assert answer.already_existed
    assert answer.file.size_bytes == len(DATA)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (uploads.header(write_offset=-1), "header.write_offset"),
        (uploads.header(write_offset=len(DATA) + 1), "header.write_offset"),
        (uploads.header(write_offset=1), "header.write_offset"),
        (uploads.header(size=-1), "header.size_bytes"),
    ],
)
async def test_a_wrong_offset_is_refused_and_leaves_nothing(
    servicer: file.FileServicer,
    tmp_path: pathlib.Path,
    asked: file_service_pb2.UploadFileRequest,
    field: str,
) -> None:
    with pytest.raises(errors.InvalidRequestError) as raised:
        await servicer.upload_file(uploads.sent(asked, CHUNK), NO_CALL)
    assert [violation.field for violation in raised.value.violations] == [field]
    assert uploads.incoming(tmp_path) == []


async def test_a_second_header_is_refused_and_leaves_nothing(
    servicer: file.FileServicer, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.InvalidRequestError, match="only chunks"):
        await servicer.upload_file(
            uploads.sent(uploads.header(), uploads.chunk(DATA[:9]), uploads.header()), NO_CALL
        )
    assert uploads.incoming(tmp_path) == []


async def test_a_client_that_sends_too_little_is_refused_and_leaves_nothing(
    servicer: file.FileServicer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "END_SECONDS", 0.0)
    with pytest.raises(errors.InvalidRequestError, match="fewer"):
        await servicer.upload_file(uploads.sent(uploads.header(), uploads.chunk(DATA[:9])), NO_CALL)
    assert uploads.incoming(tmp_path) == []


@pytest.mark.parametrize("offset", [0, 9])
async def test_a_large_upload_lets_one_of_the_same_content_go_first_and_is_spared_by_that(
    servicer: file.FileServicer,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
) -> None:
    monkeypatch.setattr(uploading, "LONG_WORK_BYTES", 4)
    monkeypatch.setattr(uploading, "WAIT_SECONDS", DEADLINE_SECONDS)
    first, second, goes_on, asked = await _two_uploads(servicer, offset)
    assert not second.done()
    assert len(uploads.incoming(tmp_path)) == 1
    goes_on.set()
    assert not (await first).already_existed
    assert (await second).already_existed
    assert asked == ["header"]


@pytest.mark.parametrize("offset", [0, 9])
async def test_a_large_upload_waits_for_another_one_a_while_only(
    servicer: file.FileServicer,
    monkeypatch: pytest.MonkeyPatch,
    offset: int,
) -> None:
    monkeypatch.setattr(uploading, "LONG_WORK_BYTES", 4)
    monkeypatch.setattr(uploading, "WAIT_SECONDS", 0.01)
    first, second, goes_on, asked = await _two_uploads(servicer, offset)
    assert not (await second).already_existed
    assert asked == ["header", "chunk"]
    goes_on.set()
    assert (await first).already_existed


async def _two_uploads(
    servicer: file.FileServicer, offset: int
) -> tuple[Upload, Upload, asyncio.Event, list[str]]:
    """An upload that waits in the middle, and one of the same content; what was asked of that."""
    goes_on = asyncio.Event()
    asked: list[str] = []

    async def parts() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield uploads.header()
        yield uploads.chunk(DATA[:9])
        await goes_on.wait()
        yield uploads.chunk(DATA[9:])

    async def others() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        asked.append("header")
        yield uploads.header(write_offset=offset)
        asked.append("chunk")
        yield uploads.chunk(DATA[offset:])

    first = asyncio.ensure_future(servicer.upload_file(parts(), NO_CALL))
    await uploads.until_committed(servicer, 9)
    second = asyncio.ensure_future(servicer.upload_file(others(), NO_CALL))
    while not asked:  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0)
    return first, second, goes_on, asked


async def test_large_uploads_wait_for_each_other_and_small_ones_for_none(
    servicer: file.FileServicer,
    kept: content.ContentStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploading, "LONG_WORK_BYTES", 4)
    let_go = threading.Event()
    begun: list[str] = []
    receive = kept.receive

    def slowly(file_hash: str, size_bytes: int, offset: int) -> object:
        if offset:
            begun.append(file_hash)
            assert let_go.wait(DEADLINE_SECONDS)
        return receive(file_hash, size_bytes, offset)

    monkeypatch.setattr(kept, "receive", slowly)
    large = [
        asyncio.ensure_future(
            servicer.upload_file(
                uploads.sent(uploads.header(b"large %d" % number, write_offset=5)), NO_CALL
            )
        )
        for number in range(uploading.LONG_WORKS + 2)
    ]
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(begun) < uploading.LONG_WORKS:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0)
        await servicer.upload_file(
            uploads.sent(uploads.header(b"abc"), uploads.chunk(b"abc")), NO_CALL
        )
    assert len(begun) == uploading.LONG_WORKS
    let_go.set()
    for upload in large:
        with pytest.raises(errors.InvalidRequestError, match="beyond what is committed"):
            await upload
    assert len(begun) == len(large)
