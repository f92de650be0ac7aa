"""Health and reflection on the edge, as their own clients see them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from dshpc_server.transport import edge, health, reflection
from support import transport_edge as t

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
NEWER_FIELD = b"\x78\x01"  # field 15, a number


class Standing:
    """A server with the standard services alone."""

    def __init__(self, channel: grpc.aio.Channel, told: health.HealthServicer) -> None:
        self.channel = channel
        self.told = told
        # The stubs have no types in their asyncio form.
        self.health: Any = health_pb2_grpc.HealthStub(channel)

    def raw(self, rpc: str, sent: bytes) -> Any:  # noqa: ANN401 - a call that takes and gives bytes
        ask: Any = self.channel.unary_stream(rpc)
        return ask(sent)

    def reflect(self, name: str) -> Any:  # noqa: ANN401 - a call that takes and gives bytes
        ask: Any = self.channel.stream_stream(f"/{name}/ServerReflectionInfo")
        return ask()


@contextlib.asynccontextmanager
async def standing(
    *, write_stall_seconds: float = 30, max_calls: int = 9, max_streams: int = 9
) -> AsyncIterator[Standing]:
    around = edge.Edge(
        write_stall_seconds=write_stall_seconds,
        max_calls=max_calls,
        max_streams=max_streams,
        max_uploads=9,
        max_entries=1000,
    )
    servicer = health.HealthServicer()
    reflecting = reflection.ReflectionServicer(["a.B"])
    served = grpc.aio.server(
        handlers=[
            around.standard_service(health.SERVICE, servicer, name=health.SERVICE.full_name),
            *(
                around.standard_service(reflection.SERVICE, reflecting, name=name)
                for name in reflection.NAMES
            ),
        ]
    )
    port = served.add_insecure_port("127.0.0.1:0")
    await served.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Standing(channel, servicer)
            await t.until(lambda: not any(around.open_calls.values()))
    finally:
        await served.stop(None)


def asked(name: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


async def test_the_health_of_a_name_is_what_was_told_last() -> None:
    async with standing() as server:
        server.told.tell("", healthy=True)
        assert await server.health.Check(asked()) == SERVING
        server.told.tell("", healthy=False)
        assert await server.health.Check(asked()) == NOT_SERVING
        refused = await t.error_of(server.health.Check(asked("\x00nope")))
        listed = await server.raw("/grpc.health.v1.Health/List", b"").read()
    assert refused.code() is grpc.StatusCode.NOT_FOUND
    assert refused.details() == r"service '\x00nope' not found"
    assert b"\x12\x02\x08\x02" in listed  # NOT_SERVING


async def test_a_watch_tells_what_is_and_what_changes_and_an_unknown_name_may_come() -> None:
    async with standing() as server:
        server.told.tell("", healthy=True)
        whole, engine = server.health.Watch(asked()), server.health.Watch(asked("engine"))
        assert (await whole.read(), await engine.read()) == (SERVING, UNKNOWN)
        server.told.tell("engine", healthy=True)
        server.told.tell("", healthy=False)
        assert (await whole.read(), await engine.read()) == (NOT_SERVING, SERVING)
        whole.cancel()
        engine.cancel()
        await t.until(lambda: server.told.watches == 0)


async def test_a_watch_hears_of_the_stop_before_it_ends_and_health_stays_as_it_is() -> None:
    async with standing() as server:
        server.told.tell("", healthy=True)
        watch = server.health.Watch(asked())
        assert await watch.read() == SERVING
        async with asyncio.timeout(t.DEADLINE_SECONDS):
            await server.told.stop(t.DEADLINE_SECONDS)
        server.told.tell("", healthy=True)
        assert await watch.read() == NOT_SERVING
        end = await t.error_of(watch.read())
        assert await server.health.Check(asked()) == NOT_SERVING
        late = server.health.Watch(asked())
        assert await late.read() == NOT_SERVING
        assert (await t.error_of(late.read())).code() is grpc.StatusCode.UNAVAILABLE
    assert end.code() is grpc.StatusCode.UNAVAILABLE
    assert end.details() == "the server is stopping"


async def test_a_watch_whose_connection_is_full_delays_nobody() -> None:
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    told = health.HealthServicer()
    told.tell("", healthy=True)
    # A call whose writes never end is what a watch on a full connection has.
    stuck = type("Stuck", (), {"write": staticmethod(never)})()
    watching = asyncio.create_task(told.watch(asked(), stuck))
    await asyncio.sleep(0)
    async with asyncio.timeout(t.DEADLINE_SECONDS):
        told.tell("", healthy=False)
        await told.stop(0.01)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert told.watches == 0


async def test_checks_are_answered_when_all_places_are_taken_and_watches_are_not() -> None:
    async with standing(max_calls=0, max_streams=0) as server:
        server.told.tell("", healthy=True)
        assert await server.health.Check(asked()) == SERVING
        refused = await t.error_of(server.health.Watch(asked()).read())
        reflecting = server.reflect(reflection.NAMES[0])
        also = await t.error_of(reflecting.read())
    assert refused.code() is also.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("rpc", ["Check", "Watch"])
async def test_unparsable_questions_are_invalid_and_fields_of_newer_versions_ignored(
    rpc: str,
) -> None:
    async with standing() as server:
        server.told.tell("", healthy=True)
        path = f"/grpc.health.v1.Health/{rpc}"
        end = await t.error_of(server.raw(path, b"\xff\xff").read())
        newer = server.raw(path, NEWER_FIELD)
        assert await newer.read() == SERVING.SerializeToString()
        newer.cancel()
    assert end.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", reflection.NAMES)
async def test_reflection_answers_in_order_until_something_is_no_question(name: str) -> None:
    listing = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
    async with standing() as server:
        call = server.reflect(name)
        for _ in range(2):
            await call.write(listing)
            answer = reflection_pb2.ServerReflectionResponse.FromString(await call.read())
            assert [each.name for each in answer.list_services_response.service] == ["a.B"]
        await call.write(b"\xff\xff")
        end = await t.error_of(call.read())
    assert end.code() is grpc.StatusCode.INVALID_ARGUMENT
