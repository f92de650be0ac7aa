"""The server's edge as connections see it: silent ones, stopping, statuses at their largest."""

import asyncio
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from dshpc.v1 import method_service_pb2, method_service_pb2_grpc
from dshpc_server.transport import server as server_module
from dshpc_server.transport import status
from support import calls, hostile_rpcs, hostile_server, live_server, site

HEALTH_SERVING = b"\x08\x01"
HEALTH_NOT_SERVING = b"\x08\x02"


@pytest.fixture
async def server(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[hostile_server.Inside]:
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT_SECONDS", 0.3)
    settings = live_server.settings(tmp_path, site.write(tmp_path))
    async with hostile_server.inside(settings) as inside:
        yield inside


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HT"])
async def test_a_connection_that_does_not_speak_http2_is_closed(
    server: hostile_server.Inside, first: bytes
) -> None:
    host, _, port = server.address.rpartition(":")
    reading, writing = await asyncio.open_connection(host, int(port))
    writing.write(first)
    async with asyncio.timeout(hostile_server.SECONDS):
        rest = await reading.read()
    writing.close()
    assert b"Traceback" not in rest


async def test_a_connection_without_a_call_is_closed_and_comes_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_SECONDS", 0.3)
    settings = live_server.settings(tmp_path, site.write(tmp_path))
    async with hostile_server.inside(settings) as server, server.channel() as channel:
        check: Any = channel.unary_unary(hostile_rpcs.BY_NAME["Check"].path)
        assert await check(b"") == HEALTH_SERVING
        async with asyncio.timeout(hostile_server.SECONDS):
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert await check(b"") == HEALTH_SERVING


async def test_the_largest_status_arrives_every_time(server: hostile_server.Inside) -> None:
    name = "\N{PILE OF POO}" * 64  # 256 bytes, the longest name
    asked = method_service_pb2.GetMethodRequest(method_name=name)
    async with server.channel() as channel:
        methods: Any = method_service_pb2_grpc.MethodServiceStub(channel)
        ends = await asyncio.gather(
            *(methods.GetMethod(asked) for _ in range(300)), return_exceptions=True
        )
    for end in ends:
        assert isinstance(end, grpc.aio.AioRpcError)
        assert end.code() is grpc.StatusCode.NOT_FOUND, end.details()
        trailer = dict(end.trailing_metadata() or ())[status.DETAILS_KEY]
        assert isinstance(trailer, bytes)
        assert status_pb2.Status.FromString(trailer).details


async def test_who_watches_the_health_hears_of_the_stop_before_the_end(
    tmp_path: pathlib.Path,
) -> None:
    settings = live_server.settings(tmp_path, site.write(tmp_path), stop_grace_seconds=5)
    heard: list[object] = []
    watching = begun = None
    async with hostile_server.inside(settings) as server:
        channel = server.channel()
        ask: Any = channel.unary_stream(hostile_rpcs.BY_NAME["Watch"].path)
        begun = ask(b"")
        heard.append(await begun.read())
        watching = asyncio.create_task(_rest(begun, heard))
    await watching
    await channel.close()
    assert heard[:2] == [HEALTH_SERVING, HEALTH_NOT_SERVING]
    (end,) = heard[2:]
    assert isinstance(end, grpc.aio.AioRpcError)
    assert end.code() is grpc.StatusCode.UNAVAILABLE
    assert end.details() == "the server is stopping"


async def _rest(call: Any, heard: list[object]) -> None:  # noqa: ANN401 - no type in grpc.aio's stubs
    try:
        while (answer := await call.read()) is not grpc.aio.EOF:
            heard.append(answer)
    except grpc.aio.AioRpcError as error:
        heard.append(error)


async def test_a_reader_that_stopped_does_not_hold_up_the_stop(tmp_path: pathlib.Path) -> None:
    settings = live_server.settings(
        tmp_path, site.write(tmp_path), stop_grace_seconds=0.2, write_stall_seconds=600
    )
    content = b"x" * (8 << 20)
    channel = None
    async with asyncio.timeout(hostile_server.SECONDS):
        async with hostile_server.inside(settings) as server:
            channel = server.channel()
            upload = hostile_rpcs.BY_NAME["UploadFile"]
            parts = calls.upload_parts(site.hash_of(content), content)
            uploading: Any = channel.stream_unary(upload.path)
            await uploading(iter([part.SerializeToString() for part in parts]))
            download: Any = channel.unary_stream(hostile_rpcs.BY_NAME["DownloadFile"].path)
            watch: Any = channel.unary_stream(hostile_rpcs.BY_NAME["Watch"].path)
            stalled = [download(_download(content)) for _ in range(20)]
            stalled.append(watch(b""))
            for call in stalled:
                await call.read()
    assert channel is not None
    await channel.close()


def _download(content: bytes) -> bytes:
    return b"\x0a\x40" + site.hash_of(content).encode()
