"""The edge around every handler: bytes in, bytes out, errors as status codes.

Promises: a request that cannot be parsed is INVALID_ARGUMENT; an error of the tree has its code; a
bug is INTERNAL with an incident id, logged, and nothing of it is told; a cancelled call always ends
(a CancelledError that is not the client's own would otherwise leave the client waiting for ever,
grpc issue 29248); a reader that stops reading is let go after a while; calls that are ended because
the server stops are UNAVAILABLE with advice to retry; calls over the limit of their class (unary
calls, server streams, uploads) are refused before their request is parsed, so that streams never
starve unary calls.
"""

import asyncio
import contextlib
import dataclasses
import logging
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf import descriptor, message

from dshpc_server import errors
from dshpc_server.files import staying
from dshpc_server.transport import draining, parsing, room, status

_log = structlog.get_logger(__name__)
_library_log = logging.getLogger("grpc._cython.cygrpc")

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
    begun: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set when something has been sent."""

    @property
    def seconds_left(self) -> float | None:
        """Until the client's deadline; None without one."""
        return self.context.time_remaining()

    async def write(self, answer: Encoded) -> None:
        """Send one message of a stream; a client that does not read ends its call."""
        if not self.begun.is_set():
            # A first write that is cancelled would leave gRPC not knowing that the headers are
            # out; it would refuse to send the status, and the client would wait for ever.
            self.begun.set()
            await staying.until_done(_headers(self.context))
        try:
            async with asyncio.timeout(self.write_stall_seconds):
                await self.context.write(answer)
        except TimeoutError as error:
            raise StalledReaderError(self.write_stall_seconds) from error


class Edge:
    """Makes gRPC handlers out of servicers' methods."""

    def __init__(
        self,
        *,
        write_stall_seconds: float,
        max_calls: int,
        max_streams: int,
        max_uploads: int,
        max_entries: int,
    ) -> None:
        self._write_stall_seconds = write_stall_seconds
        self._streams = room.Room("max_streams", max_streams)
        self._calls = room.Room("max_calls", max_calls)
        self._uploads = room.Room("max_uploads", max_uploads)
        self._checks = room.Room("max_calls", sys.maxsize)
        self._max_entries = max_entries
        self._draining = draining.Draining()
        self._leaving: set[asyncio.Task[Any]] = set()
        _library_log.addFilter(_is_to_be_told)

    @property
    def open_calls(self) -> dict[str, int]:
        """How many calls are open, by class, and how many wait for their client to take the end."""
        return {
            "calls": len(self._calls.tasks) + len(self._checks.tasks),
            "streams": len(self._streams.tasks),
            "uploads": len(self._uploads.tasks),
            "leaving": len(self._leaving),
        }

    def drain(self, *, short_too: bool) -> None:
        """End the open calls that may last with UNAVAILABLE; with `short_too` all calls.

        New calls of the contract are UNAVAILABLE from now on.
        """
        self._draining.stop()
        for each in (self._calls, self._uploads):
            each.close()
        for each in self._rooms() if short_too else ():
            each.close()
            self._draining.end(each.tasks)

    async def wait_until_ended(self, timeout_seconds: float) -> None:
        """Wait until no call is open, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while open_calls := self._leaving.union(*(each.tasks for each in self._rooms())):
                    await asyncio.wait(open_calls)

    def service(
        self, service: descriptor.ServiceDescriptor, servicer: object
    ) -> grpc.GenericRpcHandler:
        """Return the handlers of every RPC of a service of the contract.

        RPC `ListMethods` is the servicer's method `list_methods(request, call)`. Server streams
        write through `call.write` and return None; client streams get an iterator of requests.
        """
        return self._handlers(service, servicer, name=service.full_name, is_standard=False)

    def standard_service(
        self, service: descriptor.ServiceDescriptor, servicer: object, *, name: str
    ) -> grpc.GenericRpcHandler:
        """Return the handlers of a service that is everybody's, such as health, under this name.

        Fields that its messages do not know are ignored, as everywhere. Its unary calls are
        answered also when all places are taken: they wait for nothing, and who asks for the
        health of a busy server is to hear that it is well. Its streams end by themselves when the
        server stops, or are ended last.
        """
        return self._handlers(service, servicer, name=name, is_standard=True)

    def _handlers(
        self,
        service: descriptor.ServiceDescriptor,
        servicer: object,
        *,
        name: str,
        is_standard: bool,
    ) -> grpc.GenericRpcHandler:
        handlers = {}
        for method in service.methods:
            place = self._room(method)
            parse = parsing.parser(
                method, max_entries=self._max_entries, refuse_unknown=not is_standard
            )
            if is_standard and place is self._calls:
                place = self._checks
            handlers[method.name] = self._handler(
                method, servicer, place, parse, is_standard=is_standard
            )
        return grpc.method_handlers_generic_handler(name, handlers)

    def _rooms(self) -> list[room.Room]:
        return [self._streams, self._calls, self._uploads, self._checks]

    def _room(self, method: descriptor.MethodDescriptor) -> room.Room:
        if method.server_streaming:
            return self._streams
        return self._uploads if method.client_streaming else self._calls

    def _handler(
        self,
        method: descriptor.MethodDescriptor,
        servicer: object,
        place: room.Room,
        parse: parsing.Parse,
        *,
        is_standard: bool,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        behaviour = getattr(servicer, _snake_case(method.name))
        is_long = not is_standard and (method.server_streaming or method.client_streaming)

        async def unary(request: bytes, context: Context) -> Encoded | None:
            async def act() -> Encoded | None:
                asked = parse(request)
                with self._lasting(is_long or draining.waits(asked)):
                    answer: Encoded | None = await behaviour(asked, self._call(context))
                    return answer

            return await self._ended(method.full_name, context, place, act)

        async def streaming(_: object, context: Context) -> Encoded | None:
            async def read() -> bytes | None:
                # gRPC's own iterator would hold each message until the next is asked for.
                request: object = await context.read()
                return request if isinstance(request, bytes) else None  # its mark of the end

            async def act() -> Encoded | None:
                async with contextlib.aclosing(parsing.each(read, parse)) as parsed:
                    with self._lasting(is_long):
                        answer: Encoded | None = await behaviour(parsed, self._call(context))
                        return answer

            return await self._ended(method.full_name, context, place, act)

        make = _KINDS[bool(method.client_streaming), bool(method.server_streaming)]
        return make(
            streaming if method.client_streaming else unary,
            request_deserializer=None,
            response_serializer=_encoded,
        )

    async def _ended(
        self, rpc: str, context: Context, place: room.Room, act: Act
    ) -> Encoded | None:
        """Act, and end the call with the right status whatever happens inside."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        try:
            answer = await self._acted(rpc, task, place, act)
            if not isinstance(answer, status.CallStatus):
                return answer
            # A client that does not read keeps this waiting for as long as it is connected. Its
            # place is free, the error is forgotten, and with it whatever the handler held.
            self._leaving.add(task)
            await context.abort(answer.code, answer.message, answer.trailing_metadata())
        except grpc.aio.InternalError as error:
            # What was to be sent cannot be: the client has gone away. Not to be told, so not to
            # be logged either; gRPC takes a cancelled call for what it is.
            _log.debug("rpc.client_gone", rpc=rpc)
            raise asyncio.CancelledError from error
        finally:
            self._leaving.discard(task)
            self._draining.forget(task)

    async def _acted(
        self, rpc: str, task: asyncio.Task[Any], place: room.Room, act: Act
    ) -> Encoded | status.CallStatus | None:
        """What a handler answers, or the status that says why it does not."""
        try:
            with place.place(task):
                return await act()
        except (grpc.aio.AbortError, grpc.aio.InternalError):
            # The call is ended already: by an abort, or by a client that went away during a write.
            raise
        except asyncio.CancelledError:
            if self._draining.has_ended(task):
                task.uncancel()
                return status.of_stopping()
            if task.cancelling():
                raise
            return _bug(rpc)
        except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is logged
            return status.of(error) or _bug(rpc)

    def _lasting(self, is_long: bool) -> contextlib.AbstractContextManager[None]:  # noqa: FBT001 - what it says
        return self._draining.lasting() if is_long else contextlib.nullcontext()

    def _call(self, context: Context) -> Call:
        return Call(context=context, write_stall_seconds=self._write_stall_seconds)


_KINDS: dict[tuple[bool, bool], "Callable[..., grpc.RpcMethodHandler[Any, Any]]"] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""By (client streams, server streams)."""


async def _headers(context: Context) -> None:
    await context.send_initial_metadata(())


def _bug(rpc: str) -> status.CallStatus:
    """Log the exception that is being handled; its status tells nothing of it."""
    incident_id = secrets.token_hex(8)
    _log.exception("rpc.bug", rpc=rpc, incident_id=incident_id)
    return status.of_bug(incident_id)


def _is_to_be_told(record: logging.LogRecord) -> bool:
    """Whether gRPC says more than that a client went away while it was sent its answer."""
    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


def _encoded(answer: Encoded) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
