"""A grpc.aio server around `transport.edge` whose handlers the test writes.

It serves FileService of the contract, which has every kind of RPC the contract uses: DownloadFile
is a server stream, UploadFile a client stream, FindMissingFiles unary. Another service may be asked
for by name.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf import message
from google.rpc import status_pb2

from dshpc.v1 import file_service_pb2, file_service_pb2_grpc
from dshpc_server.transport import edge, server, status

DEADLINE_SECONDS = 30.0
PATH = "/dshpc.v1.FileService/"
Behaviour: TypeAlias = Callable[[Any, edge.Call], Awaitable[message.Message | bytes | None]]
Ask: TypeAlias = Callable[..., Awaitable[bytes]]
"""A call that takes and gives bytes, whatever they are."""


class Servicer:
    """A service by the handlers it is given; the others are not meant to be called."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self._behaviours = behaviours

    def __getattr__(self, name: str) -> Behaviour:
        return self._behaviours.get(name, _unexpected)


async def _unexpected(_asked: object, _call: edge.Call) -> None:
    raise AssertionError("the test does not expect this call")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """The running server, and a client of it."""

    edge: edge.Edge
    channel: grpc.aio.Channel
    files: Any
    """The stub of FileService; its asyncio form has no types."""

    async def all_ended(self) -> None:
        """Wait until no handler runs."""
        await until(lambda: not any(self.edge.open_calls.values()))


@contextlib.asynccontextmanager
async def serving(
    name: str = "FileService",
    *,
    write_stall_seconds: float = DEADLINE_SECONDS,
    max_calls: int = 100,
    max_streams: int = 100,
    max_uploads: int = 100,
    **behaviours: Behaviour,
) -> AsyncIterator[Served]:
    """Serve these handlers on a free port of loopback."""
    around = edge.Edge(
        write_stall_seconds=write_stall_seconds,
        max_calls=max_calls,
        max_streams=max_streams,
        max_uploads=max_uploads,
        max_entries=1000,
    )
    served = grpc.aio.server(options=[("grpc.http2.bdp_probe", 0)])
    service = server.SERVICES[name]
    served.add_generic_rpc_handlers((around.service(service, Servicer(**behaviours)),))
    port = served.add_insecure_port("127.0.0.1:0")
    await served.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            stub = file_service_pb2_grpc.FileServiceStub(channel)
            yield Served(edge=around, channel=channel, files=stub)
    finally:
        await served.stop(None)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for a fact that nobody announces."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


async def error_of(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """The error that ends a call, within the deadline: a call that hangs fails the test."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"the call was answered: {answer!r}")


async def read_all(call: Any) -> list[message.Message]:  # noqa: ANN401 - no type in grpc.aio's stubs
    """Read a stream, or what is left of it, to its end; raises what ends it."""
    answers = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (answer := await call.read()) is not grpc.aio.EOF:
            answers.append(answer)
    return answers


def details_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status in an error's trailer; empty without one."""
    trailer = dict(error.trailing_metadata() or ())
    encoded = trailer.get(status.DETAILS_KEY, b"")
    assert isinstance(encoded, bytes)
    return status_pb2.Status.FromString(encoded)


def hashes(*names: str) -> file_service_pb2.FindMissingFilesRequest:
    return file_service_pb2.FindMissingFilesRequest(file_hashes=names)


def download(offset: int = 0) -> file_service_pb2.DownloadFileRequest:
    return file_service_pb2.DownloadFileRequest(offset=offset)


def chunk(data: bytes = b"x") -> file_service_pb2.DownloadFileResponse:
    return file_service_pb2.DownloadFileResponse(chunk=data)
