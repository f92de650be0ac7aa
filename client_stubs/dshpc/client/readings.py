"""Streams that go on where they were cut off: which request comes next, and for how long.

A reading knows its place; the client makes the calls.
"""

from typing import Protocol, TypeVar

import grpc

from dshpc.client import errors, retries
from dshpc.v1 import file_service_pb2, job_service_pb2

RequestT_co = TypeVar("RequestT_co", covariant=True)
ResponseT = TypeVar("ResponseT")


class Reading(Protocol[RequestT_co, ResponseT]):
    """Something that is read by one call after another until it is over."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing, however the call ended."""

    def request(self) -> RequestT_co:
        """Return the request for what is still missing."""

    def take(self, response: ResponseT) -> ResponseT | None:
        """Move on by what has come; what of it is news to the caller."""

    def ended(self) -> None:
        """Hear that a call ended well; raises ServerUnavailableError if that was too early."""

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on; raises the error to give up."""


class Download:
    """The content of a file, or its first `limit_bytes`."""

    is_over = False  # only the end of a call tells

    def __init__(self, file_hash: str, backoff: retries.Backoff, *, limit_bytes: int = 0) -> None:
        self._request = file_service_pb2.DownloadFileRequest(file_hash=file_hash, limit=limit_bytes)
        self._backoff = backoff

    def request(self) -> file_service_pb2.DownloadFileRequest:
        """Return the request for the bytes after those that came."""
        return file_service_pb2.DownloadFileRequest.FromString(self._request.SerializeToString())

    def take(
        self, response: file_service_pb2.DownloadFileResponse
    ) -> file_service_pb2.DownloadFileResponse:
        """Move on by a chunk."""
        self._backoff.progressed()
        self._request.offset += len(response.chunk)
        if self._request.limit:
            # 0 would mean all; more than the limit is refused by whoever set it.
            self._request.limit = max(self._request.limit - len(response.chunk), 1)
        return response

    def ended(self) -> None:
        """Nothing is wrong with that; the hash tells whether it was the end."""

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on after an outage; no other error passes by."""
        if not isinstance(error, errors.ServerUnavailableError):
            raise error
        return self._backoff.pause_seconds(error)


class LogReading:
    """An attempt's log. The first message pins the attempt and the place."""

    def __init__(
        self, request: job_service_pb2.ReadJobLogRequest, backoff: retries.Backoff
    ) -> None:
        self._request = request
        self._backoff = backoff
        self.is_over = False

    def request(self) -> job_service_pb2.ReadJobLogRequest:
        """Return the request for the bytes after those that came."""
        return job_service_pb2.ReadJobLogRequest.FromString(self._request.SerializeToString())

    def take(
        self, response: job_service_pb2.ReadJobLogResponse
    ) -> job_service_pb2.ReadJobLogResponse:
        """Move on by a message."""
        self._backoff.progressed()
        self._request.attempt = response.attempt
        self._request.offset = response.offset + len(response.data)
        self._request.tail_bytes = 0
        self.is_over = response.finished
        if self._request.limit_bytes:
            left_bytes = self._request.limit_bytes - len(response.data)
            self.is_over = self.is_over or left_bytes <= 0
            self._request.limit_bytes = max(left_bytes, 1)  # 0 would mean all
        return response

    def ended(self) -> None:
        """Only with `follow` does an end before the attempt's end leave something out."""
        if self._request.follow and not self.is_over:
            raise errors.ServerUnavailableError(
                errors.Failure(
                    code=grpc.StatusCode.UNAVAILABLE,
                    message="the log ended before the attempt did",
                )
            )

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on after an outage; no other error passes by."""
        if not isinstance(error, errors.ServerUnavailableError):
            raise error
        return self._backoff.pause_seconds(error)
