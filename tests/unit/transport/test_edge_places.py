"""Places at the edge: too many calls of a class are refused at once, and every place comes back."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import file_service_pb2
from dshpc_server import errors
from dshpc_server.transport import edge, room
from support import transport_edge as t

NONE_OPEN = {"calls": 0, "streams": 0, "uploads": 0, "leaving": 0}


class Gate:
    """Handlers that wait until they are let go, and say that they have begun."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.open = asyncio.Event()

    async def unary(self, *_: object) -> file_service_pb2.FindMissingFilesResponse:
        self.entered.release()
        await self.open.wait()
        return file_service_pb2.FindMissingFilesResponse()

    async def stream(self, _: object, call: edge.Call) -> None:
        await call.write(t.chunk())
        await self.unary()

    async def upload(self, *_: object) -> file_service_pb2.UploadFileResponse:
        await self.unary()
        return file_service_pb2.UploadFileResponse()


async def silent() -> AsyncIterator[file_service_pb2.UploadFileRequest]:
    await asyncio.Event().wait()
    yield file_service_pb2.UploadFileRequest()


def begin(served: t.Served, kind: str) -> grpc.aio.Call:
    call: grpc.aio.Call = {
        "max_calls": lambda: served.files.FindMissingFiles(t.hashes(), timeout=60),
        "max_streams": lambda: served.files.DownloadFile(t.download(), timeout=60),
        "max_uploads": lambda: served.files.UploadFile(silent(), timeout=60),
    }[kind]()
    return call


async def end_of(call: object) -> grpc.aio.AioRpcError:
    return await t.error_of(
        t.read_all(call) if isinstance(call, grpc.aio.UnaryStreamCall) else call  # type: ignore[arg-type]  # awaitable
    )


@pytest.mark.parametrize("kind", ["max_calls", "max_streams", "max_uploads"])
async def test_one_too_many_is_refused_with_the_limit_and_the_others_go_on(kind: str) -> None:
    gate = Gate()
    async with t.serving(
        find_missing_files=gate.unary,
        download_file=gate.stream,
        upload_file=gate.upload,
        max_calls=2,
        max_streams=2,
        max_uploads=2,
    ) as served:
        first = [begin(served, kind) for _ in range(2)]
        for _ in first:
            await gate.entered.acquire()
        refused = await end_of(begin(served, kind))
        others = [begin(served, each) for each in ("max_calls", "max_streams", "max_uploads")]
        for _ in range(2):  # the third is of the same kind
            await gate.entered.acquire()
        gate.open.set()
        for call in (*first, *others):
            call.cancel()
        await served.all_ended()
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    quota, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    assert t.details_of(refused).details[0].Unpack(quota)
    assert t.details_of(refused).details[1].Unpack(retry)
    assert quota.violations[0].subject == kind
    assert "2" in quota.violations[0].description
    assert retry.retry_delay.ToMilliseconds() > 0


async def test_what_is_refused_for_want_of_a_place_is_not_parsed() -> None:
    gate = Gate()
    async with t.serving(find_missing_files=gate.unary, max_calls=1) as served:
        first = begin(served, "max_calls")
        await gate.entered.acquire()
        ask: t.Ask = served.channel.unary_unary(t.PATH + "FindMissingFiles")
        refused = await t.error_of(ask(b"\xff\xff", timeout=20))
        first.cancel()
        await served.all_ended()
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def answered(*_: object) -> file_service_pb2.FindMissingFilesResponse:
    return file_service_pb2.FindMissingFilesResponse()


async def failing(*_: object) -> None:
    raise errors.NotFoundError("file", "a")


async def waiting(*_: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("behaviour", [answered, failing, waiting])
async def test_a_place_comes_back_however_the_call_ends(behaviour: t.Behaviour) -> None:
    async with t.serving(find_missing_files=behaviour, max_calls=1) as served:
        for timeout in (0.05, 0.05, 0.05):
            call = served.files.FindMissingFiles(t.hashes(), timeout=timeout)
            codes = {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}
            assert await call.code() in codes | {grpc.StatusCode.DEADLINE_EXCEEDED}
            await served.all_ended()
        assert served.edge.open_calls == NONE_OPEN


async def test_a_reader_that_stopped_gives_its_place_to_others() -> None:
    async def flooding(asked: file_service_pb2.DownloadFileRequest, call: edge.Call) -> None:
        while not asked.offset:
            await call.write(t.chunk(b"x" * (256 * 1024)))

    async with t.serving(write_stall_seconds=0.2, download_file=flooding, max_streams=1) as served:
        stalled = served.files.DownloadFile(t.download())
        await stalled.read()
        await t.until(lambda: served.edge.open_calls == {**NONE_OPEN, "leaving": 1})
        assert await t.read_all(served.files.DownloadFile(t.download(1))) == []
        stalled.cancel()
        await served.all_ended()


@pytest.mark.parametrize("kind", ["max_calls", "max_streams", "max_uploads"])
async def test_who_comes_after_the_draining_is_told_that_the_server_stops(kind: str) -> None:
    async with t.serving() as served:
        served.edge.drain(short_too=True)
        end = await end_of(begin(served, kind))
    assert end.code() is grpc.StatusCode.UNAVAILABLE
    assert end.details() == "the server is stopping"


async def test_a_thousand_calls_opened_and_cancelled_at_once_leave_nothing() -> None:
    async with t.serving(
        find_missing_files=waiting, download_file=waiting, upload_file=waiting
    ) as served:
        before = len(asyncio.all_tasks())
        for _ in range(20):
            calls = [
                begin(served, kind)
                for kind in ("max_calls", "max_streams", "max_uploads")
                for _ in range(17)
            ]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        await served.all_ended()
        await t.until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_handler_that_writes_after_its_call_has_ended_is_a_bug_and_tells_nothing() -> None:
    async def behaviour(*_: object) -> None:
        raise grpc.aio.UsageError("secret")

    async with t.serving(download_file=behaviour) as served:
        told = await t.error_of(served.files.DownloadFile(t.download(), timeout=20).read())
    assert told.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(told)


async def test_nobody_gets_into_a_room_twice_or_after_it_is_closed() -> None:
    task = asyncio.current_task()
    assert task is not None
    small = room.Room("max_calls", 1)
    with small.place(task):
        with pytest.raises(errors.LimitExceededError), small.place(task):
            pass
        assert list(small.tasks) == [task]
    assert not small.tasks
    small.close()
    with pytest.raises(errors.UnavailableError), small.place(task):
        pass
