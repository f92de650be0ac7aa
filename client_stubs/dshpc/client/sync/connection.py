"""The connection that all parts of the synchronous client share, and its three kinds of calls."""

import time
import types
from collections.abc import Callable, Generator, Iterator
from typing import Protocol, Self, TypeAlias, TypeVar

import grpc

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
    "grpc.UnaryStreamMultiCallable[batch_service_pb2.WatchBatchRequest, streams.Event]"
)


class Call(Protocol[ResponseT_co]):
    """A call that brings messages."""

    def __iter__(self) -> Iterator[ResponseT_co]:
        """Yield them."""

    def cancel(self) -> bool:
        """End it, if it has not ended."""


class Connection:
    """A connection to a server at HOST:PORT.

    `deadline_seconds` is the longest wait for a small call; batches, streams, uploads and downloads
    have no deadline. `retry` is how patiently streams of batches, uploads, downloads, logs and
    watches go on after the connection was lost.
    """

    def __init__(
        self,
        target: str,
        *,
        deadline_seconds: float = retries.DEADLINE_SECONDS,
        retry: retries.RetryPolicy | None = None,
    ) -> None:
        self.target = target
        self._deadline_seconds = deadline_seconds
        self._retry = retry or retries.RetryPolicy()
        self._channel = channel.connect(target)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._batches = batch_service_pb2_grpc.BatchServiceStub(self._channel)
        # Both calls that tell a batch's events are read as the same message.
        self._watch_batch: _WatchBatch = self._channel.unary_stream(
            streams.WATCH_BATCH,
            request_serializer=batch_service_pb2.WatchBatchRequest.SerializeToString,
            response_deserializer=streams.Event.FromString,
        )
        self._files = file_service_pb2_grpc.FileServiceStub(self._channel)
        self._methods = method_service_pb2_grpc.MethodServiceStub(self._channel)
        self._server = server_service_pb2_grpc.ServerServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end its calls. Jobs are not touched by that."""
        self._channel.close()

    def _call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        *,
        wait_seconds: float = 0.0,
    ) -> ResponseT:
        """Make a small call, which may wait that long on purpose."""
        with failures.translated(self.target):
            return method(request, timeout=self._deadline_seconds + wait_seconds)

    def _pages(
        self, method: "grpc.UnaryUnaryMultiCallable[PageRequestT, PageT]", request: PageRequestT
    ) -> Iterator[PageT]:
        """Yield page after page."""
        while True:
            page = self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _read(
        self,
        method: Callable[[RequestT], Call[ResponseT]],
        reading: readings.Reading[RequestT, ResponseT],
    ) -> Generator[ResponseT, None, None]:
        """Yield the messages of a reading, over as many calls as it takes."""
        while True:
            call = method(reading.request())
            try:
                with failures.translated(self.target):
                    # To its end: a call that is left before keeps its connection.
                    for response in call:
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
            time.sleep(pause_seconds)
