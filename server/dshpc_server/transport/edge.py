"""The edge around every handler: bytes in, bytes out, errors as status codes.

Promises: a request that cannot be parsed is INVALID_ARGUMENT; an error of the tree has its code; a
bug is INTERNAL with an incident id, logged, and nothing of it is told; a cancelled call always ends
(a CancelledError that is not the client's own would otherwise leave the client waiting for ever,
grpc issue 29248); a reader that stops reading is let go after a while; calls that are ended because
the server stops are UNAVAILABLE with advice to retry.
"""

import asyncio
import contextlib
import dataclasses
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf import descriptor, message, message_factory

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import known, status

_log = structlog.get_logger(__name__)

Encoded: TypeAlias = message.Message | bytes
"""What a handler answers: a message, or one that is encoded already."""
Context: TypeAlias = grpc.aio.ServicerContext[bytes, Encoded]
Act: TypeAlias = Callable[[], Awaitable[Encoded | None]]


class StalledReaderError(errors.LimitExceededError):
    """The client has not read for too long."""

    def __init__(self, stall_seconds: float) -> None:
        super().__init__(
            "write_stall_seconds", maximum=int(stall_seconds), actual=int(stall_seconds)
        )

    def __str__(self) -> str:
        return f"the client has read nothing for {self.maximum} s"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What a handler may know about its call."""

    context: Context
    write_stall_seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Until the client's deadline; None without one."""
        return self.context.time_remaining()

    async def write(self, answer: Encoded) -> None:
        """Send one message of a stream; a client that does not read ends its call."""
        try:
            async with asyncio.timeout(self.write_stall_seconds):
                await self.context.write(answer)
        except TimeoutError as error:
            raise StalledReaderError(self.write_stall_seconds) from error


class Edge:
    """Makes gRPC handlers out of servicers' methods."""

    def __init__(self, *, write_stall_seconds: float) -> None:
        self._write_stall_seconds = write_stall_seconds
        self._streams: set[asyncio.Task[Any]] = set()
        self._others: set[asyncio.Task[Any]] = set()
        self._drained: set[asyncio.Task[Any]] = set()

    def drain(self, *, streams_only: bool) -> None:
        """End the open calls with UNAVAILABLE; with `streams_only` just the server streams."""
        for task in self._streams if streams_only else self._streams | self._others:
            self._drained.add(task)
            task.cancel()

    async def wait_until_ended(self, timeout_seconds: float) -> None:
        """Wait until no call is open, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while open_calls := self._streams | self._others:
                    await asyncio.wait(open_calls)

    def service(
        self, service: descriptor.ServiceDescriptor, servicer: object
    ) -> grpc.GenericRpcHandler:
        """Return the handlers of every RPC of a service.

        RPC `ListMethods` is the servicer's method `list_methods(request, call)`. Server streams
        write through `call.write` and return None; client streams get an iterator of requests.
        """
        handlers = {
            method.name: self._handler(method, getattr(servicer, _snake_case(method.name)))
            for method in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _handler(
        self,
        method: descriptor.MethodDescriptor,
        behaviour: Callable[..., Awaitable[Encoded | None]],
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        parse = _parser(method)
        open_calls = self._streams if method.server_streaming else self._others

        async def unary(request: bytes, context: Context) -> Encoded | None:
            async def act() -> Encoded | None:
                return await behaviour(parse(request), self._call(context))

            return await self._ended(method.full_name, context, open_calls, act)

        async def streaming(requests: AsyncIterator[bytes], context: Context) -> Encoded | None:
            async def act() -> Encoded | None:
                async with contextlib.aclosing(_each(requests, parse)) as parsed:
                    return await behaviour(parsed, self._call(context))

            return await self._ended(method.full_name, context, open_calls, act)

        make = _KINDS[bool(method.client_streaming), bool(method.server_streaming)]
        return make(
            streaming if method.client_streaming else unary,
            request_deserializer=None,
            response_serializer=_encoded,
        )

    async def _ended(
        self, rpc: str, context: Context, open_calls: set[asyncio.Task[Any]], act: Act
    ) -> Encoded | None:
        """Act, and end the call with the right status whatever happens inside."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        open_calls.add(task)
        try:
            answer = await self._acted(rpc, task, act)
            if isinstance(answer, status.CallStatus):
                # A client that does not read keeps this waiting for as long as it is connected.
                # The error is forgotten by now, and with it whatever the handler held.
                await context.abort(answer.code, answer.message, answer.trailing_metadata())
            return answer
        finally:
            open_calls.discard(task)
            self._drained.discard(task)

    async def _acted(
        self, rpc: str, task: asyncio.Task[Any], act: Act
    ) -> Encoded | status.CallStatus | None:
        """What a handler answers, or the status that says why it does not."""
        try:
            return await act()
        except grpc.aio.BaseError:
            # The call is ended already: by an abort, or by a client that went away during a write.
            raise
        except asyncio.CancelledError:
            if task in self._drained:
                task.uncancel()
                return status.of_stopping()
            if task.cancelling():
                raise
            return _bug(rpc)
        except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is logged
            return status.of(error) or _bug(rpc)

    def _call(self, context: Context) -> Call:
        return Call(context=context, write_stall_seconds=self._write_stall_seconds)


_KINDS: dict[tuple[bool, bool], "Callable[..., grpc.RpcMethodHandler[Any, Any]]"] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By (client streams, server streams)."""


def _bug(rpc: str) -> status.CallStatus:
    """Log the exception that is being handled; its status tells nothing of it."""
    incident_id = secrets.token_hex(8)
    _log.exception("rpc.bug", rpc=rpc, incident_id=incident_id)
    return status.of_bug(incident_id)


def _parser(method: descriptor.MethodDescriptor) -> Callable[[bytes], message.Message]:
    request_class = message_factory.GetMessageClass(method.input_type)

    def parse(request: bytes) -> message.Message:
        try:
            parsed = request_class.FromString(request)
        except message.DecodeError as error:
            raise errors.InvalidRequestError(
                Violation(field="", description=f"not a {method.input_type.full_name}")
            ) from error
        known.refuse_unknown("", parsed)
        return parsed

    return parse


async def _each(
    requests: AsyncIterator[bytes], parse: Callable[[bytes], message.Message]
) -> AsyncGenerator[message.Message, None]:
    """Parse the messages of a client stream. Nothing is begun before the first is asked for."""
    async for request in requests:
        yield parse(request)


def _encoded(answer: Encoded) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
