"""The connection that all parts of the asyncio client share, and its three kinds of calls.

A call that nobody waits for any more is cancelled here, always: gRPC does not do that by itself.
"""

import asyncio
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol, Self, TypeAlias, TypeVar

import grpc.aio

from dshpc.client import channel, errors, failures, readings, retries, streams
from dshpc.client.pages import PageRequestT, PageT
from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    file_service_pb2_grpc,
    job_service_pb2_grpc,
    method_service_pb2_grpc,
    server_service_pb2_grpc,
)

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
ResponseT_co = TypeVar("ResponseT_co", covariant=True)

_WatchBatch: TypeAlias = (
    "grpc.aio.UnaryStreamMultiCallable[batch_service_pb2.WatchBatchRequest, streams.Event]"
)


class Call(Protocol[ResponseT_co]):
    """A call that brings messages."""

    def __aiter__(self) -> AsyncIterator[ResponseT_co]:
        """Yield them."""

    def cancel(self) -> bool:
        """End it, if it has not ended."""


class Connection:
    """A connection to a server at HOST:PORT, for the event loop in which it is made."""

    def __init__(
        self,
        target: str,
        *,
        deadline_seconds: float = retries.DEADLINE_SECONDS,
        retry: retries.RetryPolicy | None = None,
    ) -> None:
        asyncio.get_running_loop()  # raises RuntimeError outside of one, where calls would hang
        self.target = target
        self._deadline_seconds = deadline_seconds
        self._retry = retry or retries.RetryPolicy()
        self._channel = channel.connect_async(target)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._batches = batch_service_pb2_grpc.BatchServiceStub(self._channel)
        # Both calls that tell a batch's events are read as the same message.
        self._watch_batch: _WatchBatch = self._channel.unary_stream(
            streams.WATCH_BATCH,
            request_serializer=batch_service_pb2.WatchBatchRequest.SerializeToString,
            response_deserializer=streams.Event.FromString,
        )
        self._files = file_service_pb2_grpc.FileServiceStub(self._channel)
        # Why uploads have a channel of the other kind: `dshpc.client.uploads.Sending`.
        self._upload_channel = channel.connect(target)
        self._uploads = file_service_pb2_grpc.FileServiceStub(self._upload_channel)
        self._methods = method_service_pb2_grpc.MethodServiceStub(self._channel)
        self._server = server_service_pb2_grpc.ServerServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection and end its calls. Jobs are not touched by that."""
        self._upload_channel.close()
        await self._channel.close()

    async def _call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        *,
        wait_seconds: float | None = 0.0,
    ) -> ResponseT:
        """Make a call that may wait that long on purpose; None: for ever."""
        deadline_seconds = None if wait_seconds is None else self._deadline_seconds + wait_seconds
        call = method(request, timeout=deadline_seconds)
        try:
            with failures.translated(self.target):
                return await call
        finally:
            call.cancel()

    async def _pages(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[PageRequestT, PageT]",
        request: PageRequestT,
    ) -> AsyncIterator[PageT]:
        """Yield page after page."""
        while True:
            page = await self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _read(
        self,
        method: Callable[[RequestT], Call[ResponseT]],
        reading: readings.Reading[RequestT, ResponseT],
    ) -> AsyncGenerator[ResponseT, None]:
        """Yield the messages of a reading, over as many calls as it takes."""
        while True:
            call = method(reading.request())
            try:
                with failures.translated(self.target):
                    # To its end: a call that is left before keeps its connection.
                    async for response in call:
                        news = reading.take(response)
                        if news is not None:
                            yield news
                reading.ended()
            except errors.CallError as error:
                if reading.is_over:
                    return
                pause_seconds = reading.pause_seconds(error)
            else:
                return
            finally:
                call.cancel()
            await asyncio.sleep(pause_seconds)
