"""Streams at the edge: readers that stop reading are let go, and draining ends every call."""

import asyncio
import gc
import weakref

import grpc
from google.rpc import error_details_pb2

from dshpc.v1 import file_service_pb2
from dshpc_server.transport import edge
from support import transport_edge as t

CHUNK = t.chunk(b"x" * (256 * 1024))


class Held:
    """Something that a handler holds while it runs."""


async def flooding(_: object, call: edge.Call) -> None:
    while True:
        await call.write(CHUNK)


async def waiting(*_: object) -> None:
    await asyncio.Event().wait()


def retry_of(error: grpc.aio.AioRpcError) -> float:
    retry = error_details_pb2.RetryInfo()
    assert t.details_of(error).details[-1].Unpack(retry)
    return float(retry.retry_delay.ToMilliseconds()) / 1000


async def test_a_reader_that_stops_reading_is_let_go_with_what_it_held_and_others_are_not() -> None:
    held: list[weakref.ref[Held]] = []
    ended = asyncio.Event()

    async def behaviour(asked: file_service_pb2.DownloadFileRequest, call: edge.Call) -> None:
        if asked.offset:
            for _ in range(200):
                await call.write(t.chunk(b"y" * 4096))
            return
        something = Held()
        held.append(weakref.ref(something))
        try:
            await flooding(something, call)
        finally:
            ended.set()

    async with t.serving(write_stall_seconds=0.3, download_file=behaviour) as served:
        stalled = served.files.DownloadFile(t.download())
        assert await stalled.read() == CHUNK
        assert len(await t.read_all(served.files.DownloadFile(t.download(1)))) == 200
        async with asyncio.timeout(t.DEADLINE_SECONDS):
            await ended.wait()
        await t.until(lambda: gc.collect() >= 0 and held[0]() is None)
        assert len(await t.read_all(served.files.DownloadFile(t.download(1)))) == 200
        error = await t.error_of(t.read_all(stalled))
        await served.all_ended()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "has read nothing" in (error.details() or "")
    assert retry_of(error) > 0


async def test_a_client_that_goes_away_while_a_write_waits_leaves_nothing() -> None:
    async with t.serving(download_file=flooding) as served:
        call = served.files.DownloadFile(t.download())
        await call.read()
        call.cancel()
        await served.all_ended()


async def test_draining_streams_ends_them_with_advice_and_leaves_the_others() -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def unary(*_: object) -> file_service_pb2.FindMissingFilesResponse:
        entered.set()
        await release.wait()
        return file_service_pb2.FindMissingFilesResponse(missing_hashes=["a"])

    async def stream(_: object, call: edge.Call) -> None:
        await call.write(t.chunk())
        await waiting()

    async with t.serving(find_missing_files=unary, download_file=stream) as served:
        other = served.files.FindMissingFiles(t.hashes())
        call = served.files.DownloadFile(t.download())
        assert await call.read() == t.chunk()
        await entered.wait()
        served.edge.drain(short_too=False)
        error = await t.error_of(call.read())
        release.set()
        assert list((await other).missing_hashes) == ["a"]
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the server is stopping"
    assert retry_of(error) > 0


async def test_streams_that_are_drained_in_their_first_write_are_told_so() -> None:
    entered = asyncio.Semaphore(0)

    async def stream(_: object, call: edge.Call) -> None:
        entered.release()
        await call.write(t.chunk())
        await waiting()

    async with t.serving(download_file=stream) as served:
        calls = [served.files.DownloadFile(t.download()) for _ in range(20)]
        reading = [asyncio.ensure_future(t.error_of(t.read_all(call))) for call in calls]
        for _ in calls:
            await entered.acquire()
        served.edge.drain(short_too=False)
        ends = await asyncio.gather(*reading)
        await served.all_ended()
    assert {end.details() for end in ends} == {"the server is stopping"}


async def test_draining_all_ends_unary_calls_and_uploads_too() -> None:
    entered = asyncio.Semaphore(0)

    async def behaviour(*_: object) -> None:
        entered.release()
        await waiting()

    async with t.serving(find_missing_files=behaviour, upload_file=behaviour) as served:
        calls = [
            served.files.FindMissingFiles(t.hashes()),
            served.files.UploadFile(),
        ]
        await asyncio.gather(*(entered.acquire() for _ in calls))
        served.edge.drain(short_too=True)
        ends = [await t.error_of(call) for call in calls]
        await served.all_ended()
    assert {end.code() for end in ends} == {grpc.StatusCode.UNAVAILABLE}


async def test_draining_ends_a_stream_that_waits_for_its_reader() -> None:
    async with t.serving(download_file=flooding) as served:
        call = served.files.DownloadFile(t.download())
        await call.read()
        served.edge.drain(short_too=False)
        error = await t.error_of(t.read_all(call))
        await served.all_ended()
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_draining_nothing_does_nothing() -> None:
    edge.Edge(
        write_stall_seconds=1.0,
        max_calls=1,
        max_streams=1,
        max_uploads=1,
        max_entries=1000,
    ).drain(short_too=True)
