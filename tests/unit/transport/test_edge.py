"""The edge over a real connection: whatever happens inside, the call ends, with its status."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2

from dshpc.v1 import file_service_pb2
from dshpc_server import errors
from dshpc_server.methods import errors as method_errors
from dshpc_server.transport import edge
from dshpc_server.transport import server as server_module
from support import transport_edge as t

SECRET = "password=hunter2"
MISSING = file_service_pb2.FindMissingFilesResponse(missing_hashes=["a", "b"])
A_BUG = RuntimeError(SECRET)


async def raising(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def cancelled_within() -> None:
    """Wait for a task that somebody else has cancelled, as a handler with inner tasks may."""
    inner = asyncio.create_task(asyncio.Event().wait())
    inner.cancel()
    await inner


@pytest.mark.parametrize("answer", [MISSING, MISSING.SerializeToString()])
async def test_a_handler_answers_with_a_message_or_with_its_bytes(
    answer: file_service_pb2.FindMissingFilesResponse | bytes,
) -> None:
    async def behaviour(_: object, _call: edge.Call) -> file_service_pb2.FindMissingFilesResponse:
        return answer  # type: ignore[return-value]  # bytes are allowed, too

    async with t.serving(find_missing_files=behaviour) as served:
        assert await served.files.FindMissingFiles(t.hashes()) == MISSING


async def test_a_handler_gets_the_request_and_knows_the_callers_deadline() -> None:
    async def behaviour(
        asked: file_service_pb2.FindMissingFilesRequest, call: edge.Call
    ) -> file_service_pb2.FindMissingFilesResponse:
        left = "none" if call.seconds_left is None else "some"
        return file_service_pb2.FindMissingFilesResponse(missing_hashes=[left, *asked.file_hashes])

    async with t.serving(find_missing_files=behaviour) as served:
        without = await served.files.FindMissingFiles(t.hashes("a"))
        with_deadline = await served.files.FindMissingFiles(t.hashes("b"), timeout=60)
    assert list(without.missing_hashes) == ["none", "a"]
    assert list(with_deadline.missing_hashes) == ["some", "b"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("job", "é"), grpc.StatusCode.NOT_FOUND),
        (errors.InvalidRequestError(), grpc.StatusCode.INVALID_ARGUMENT),
        (
            errors.UnavailableError("busy", retry_after_seconds=1.0),
            grpc.StatusCode.UNAVAILABLE,
        ),
    ],
)
async def test_an_error_of_the_tree_has_its_code(
    error: errors.DshpcError, code: grpc.StatusCode
) -> None:
    async with t.serving(find_missing_files=lambda *_: raising(error)) as served:
        told = await t.error_of(served.files.FindMissingFiles(t.hashes(), timeout=20))
    assert told.code() is code
    assert told.details() == str(error)
    assert t.details_of(told).code == code.value[0]


@pytest.mark.parametrize("error", [A_BUG, method_errors.TreeError(SECRET), MemoryError(SECRET)])
async def test_a_bug_is_internal_with_an_incident_and_none_of_its_text(error: Exception) -> None:
    with structlog.testing.capture_logs() as logged:
        async with t.serving(find_missing_files=lambda *_: raising(error)) as served:
            told = await t.error_of(served.files.FindMissingFiles(t.hashes(), timeout=20))
    (line,) = logged
    assert line["event"] == "rpc.bug"
    assert line["rpc"] == "dshpc.v1.FileService.FindMissingFiles"
    assert told.code() is grpc.StatusCode.INTERNAL
    assert told.details() == f"internal error, incident {line['incident_id']}"
    assert SECRET not in str(told)
    assert t.details_of(told).ByteSize() == 0


async def test_a_bug_in_a_stream_is_internal_after_what_was_sent() -> None:
    async def behaviour(_: object, call: edge.Call) -> None:
        await call.write(t.chunk())
        raise A_BUG

    with structlog.testing.capture_logs() as logged:
        async with t.serving(download_file=behaviour) as served:
            call = served.files.DownloadFile(t.download())
            assert await call.read() == t.chunk()
            told = await t.error_of(call.read())
    assert told.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in str(told)
    assert len(logged) == 1


@pytest.mark.parametrize("behaviour", [cancelled_within, lambda: raising(asyncio.CancelledError())])
async def test_a_cancellation_from_within_ends_the_call(behaviour: t.Behaviour) -> None:
    async def acting(*_: object) -> None:
        await behaviour()  # type: ignore[call-arg]  # takes nothing

    with structlog.testing.capture_logs() as logged:
        async with t.serving(find_missing_files=acting, download_file=acting) as served:
            unary = await t.error_of(served.files.FindMissingFiles(t.hashes(), timeout=20))
            stream = await t.error_of(served.files.DownloadFile(t.download(), timeout=20).read())
            await served.all_ended()
    assert unary.code() is stream.code() is grpc.StatusCode.INTERNAL
    assert len(logged) == 2


async def test_that_a_client_went_away_is_no_error_in_the_log_of_the_library(
    caplog: pytest.LogCaptureFixture,
) -> None:
    library = logging.getLogger("grpc._cython.cygrpc")
    async with t.serving():
        for error in (grpc.aio.InternalError("its answer cannot be sent"), A_BUG):
            library.error("raised in core by servicer method", exc_info=error)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is A_BUG


async def test_a_request_with_a_field_of_a_newer_contract_reaches_no_handler() -> None:
    async with t.serving() as served:
        ask: t.Ask = served.channel.unary_unary(t.PATH + "FindMissingFiles")
        newer = t.hashes("a").SerializeToString() + b"\x78\x01"  # field 15, a number
        told = await t.error_of(ask(newer, timeout=20))
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "FindMissingFilesRequest has no field 15" in str(told.details())


@pytest.mark.parametrize("sent", [b"\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\x7f"])
async def test_bytes_that_are_no_request_are_invalid_and_reach_no_handler(sent: bytes) -> None:
    async with t.serving() as served:
        ask: t.Ask = served.channel.unary_unary(t.PATH + "FindMissingFiles")
        told = await t.error_of(ask(sent, timeout=20))
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    (packed,) = t.details_of(told).details
    assert packed.Unpack(bad)
    assert "FindMissingFilesRequest" in bad.field_violations[0].description


async def test_a_client_stream_is_answered_from_its_messages() -> None:
    async def behaviour(
        parts: AsyncIterator[file_service_pb2.UploadFileRequest], _: edge.Call
    ) -> file_service_pb2.UploadFileResponse:
        size = sum([len(part.chunk) async for part in parts])
        return file_service_pb2.UploadFileResponse(file=file_service_pb2.File(size_bytes=size))

    async with t.serving(upload_file=behaviour) as served:
        parts = [file_service_pb2.UploadFileRequest(chunk=b"x" * size) for size in (1, 0, 5)]
        answer = await served.files.UploadFile(iter(parts), timeout=20)
    assert answer.file.size_bytes == 6


async def test_a_message_that_cannot_be_parsed_ends_a_client_stream_in_its_middle() -> None:
    taken: list[bytes] = []

    async def behaviour(
        parts: AsyncIterator[file_service_pb2.UploadFileRequest], _: edge.Call
    ) -> None:
        async for part in parts:
            taken.append(part.chunk)  # noqa: PERF401 - one by one, since the second raises

    good = file_service_pb2.UploadFileRequest(chunk=b"first").SerializeToString()
    async with t.serving(upload_file=behaviour) as served:
        ask: t.Ask = served.channel.stream_unary(t.PATH + "UploadFile")
        told = await t.error_of(ask(iter([good, b"\xff\xff", good]), timeout=20))
        await served.all_ended()
    assert told.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert taken == [b"first"]


async def test_an_error_in_the_middle_of_a_client_stream_is_told_at_once() -> None:
    async def behaviour(
        parts: AsyncIterator[file_service_pb2.UploadFileRequest], _: edge.Call
    ) -> None:
        await anext(parts)
        raise errors.LimitExceededError("rows", maximum=1, actual=2)

    async def endless() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
        yield file_service_pb2.UploadFileRequest(chunk=b"x")
        await asyncio.Event().wait()

    async with t.serving(upload_file=behaviour) as served:
        told = await t.error_of(served.files.UploadFile(endless(), timeout=20))
        await served.all_ended()
    assert told.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("rpc", ["unary", "stream", "upload"])
async def test_a_cancelled_call_cleans_up_and_leaves_no_task(rpc: str) -> None:
    entered, cleaned = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: object) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with t.serving(
        find_missing_files=behaviour, download_file=behaviour, upload_file=behaviour
    ) as served:
        before = len(asyncio.all_tasks())
        call = {
            "unary": lambda: served.files.FindMissingFiles(t.hashes()),
            "stream": lambda: served.files.DownloadFile(t.download()),
            "upload": served.files.UploadFile,
        }[rpc]()
        async with asyncio.timeout(t.DEADLINE_SECONDS):
            await entered.wait()
            call.cancel()
            await cleaned.wait()
        await served.all_ended()
        await t.until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_deadline_that_passes_cleans_up_like_a_cancel() -> None:
    cleaned = asyncio.Event()

    async def behaviour(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async with t.serving(find_missing_files=behaviour) as served:
        told = await t.error_of(served.files.FindMissingFiles(t.hashes(), timeout=0.2))
        async with asyncio.timeout(t.DEADLINE_SECONDS):
            await cleaned.wait()
        await served.all_ended()
    assert told.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_servicer_that_lacks_a_method_is_found_out_when_it_is_put_together() -> None:
    with pytest.raises(AttributeError, match="upload_file"):
        edge.Edge(
            write_stall_seconds=1.0,
            max_calls=1,
            max_streams=1,
            max_uploads=1,
            max_entries=1000,
        ).service(server_module.SERVICES["FileService"], object())
