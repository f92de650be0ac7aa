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
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf import descriptor, message, message_factory

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import status

STOPPING_RETRY_SECONDS = 1.0
"""Advice for a client whose call was ended because the server stops."""

_UNANSWERED = "the guard ends every call that has no answer"

_log = structlog.get_logger(__name__)

Encoded: TypeAlias = message.Message | bytes
"""What a handler answers: a message, or one that is encoded already."""
Context: TypeAlias = grpc.aio.ServicerContext[bytes, Encoded]


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
            async with self._guard(method.full_name, context, open_calls):
                return await behaviour(parse(request), self._call(context))
            raise AssertionError(_UNANSWERED)

        async def streaming(requests: AsyncIterator[bytes], context: Context) -> Encoded | None:
            async with self._guard(method.full_name, context, open_calls):
                parsed = (parse(request) async for request in requests)
                async with contextlib.aclosing(parsed):
                    return await behaviour(parsed, self._call(context))
            raise AssertionError(_UNANSWERED)

        make = _KINDS[bool(method.client_streaming), bool(method.server_streaming)]
        return make(
            streaming if method.client_streaming else unary,
            request_deserializer=None,
            response_serializer=_encoded,
        )

    @contextlib.asynccontextmanager
    async def _guard(
        self, rpc: str, context: Context, open_calls: set[asyncio.Task[Any]]
    ) -> AsyncIterator[None]:
        """End the call with the right status whatever happens inside."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        open_calls.add(task)
        try:
            yield
        except grpc.aio.BaseError:
            # The call is ended already: by an abort, or by a client that went away during a write.
            raise
        except asyncio.CancelledError:
            if task in self._drained:
                task.uncancel()
                await _abort(context, status.of(_stopping()))
            elif task.cancelling():
                raise
            else:
                await _abort_for_bug(rpc, context)
        except errors.DshpcError as error:
            await _abort(context, status.of(error))
        except Exception:  # noqa: BLE001 - the last line of defence: logged, and told as INTERNAL
            await _abort_for_bug(rpc, context)
        finally:
            open_calls.discard(task)
            self._drained.discard(task)

    def _call(self, context: Context) -> Call:
        return Call(context=context, write_stall_seconds=self._write_stall_seconds)


_KINDS: dict[tuple[bool, bool], "Callable[..., grpc.RpcMethodHandler[Any, Any]]"] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By (client streams, server streams)."""


def _stopping() -> errors.UnavailableError:
    return errors.UnavailableError(
        "the server is stopping", retry_after_seconds=STOPPING_RETRY_SECONDS
    )


async def _abort_for_bug(rpc: str, context: Context) -> None:
    incident_id = secrets.token_hex(8)
    _log.exception("rpc.bug", rpc=rpc, incident_id=incident_id)
    await _abort(context, status.of_bug(incident_id))


async def _abort(context: Context, end: status.CallStatus) -> None:
    await context.abort(end.code, end.message, end.trailing_metadata())


def _parser(method: descriptor.MethodDescriptor) -> Callable[[bytes], message.Message]:
    request_class = message_factory.GetMessageClass(method.input_type)

    def parse(request: bytes) -> message.Message:
        try:
            return request_class.FromString(request)
        except message.DecodeError as error:
            raise errors.InvalidRequestError(
                Violation(field="", description=f"not a {method.input_type.full_name}")
            ) from error

    return parse


def _encoded(answer: Encoded) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
