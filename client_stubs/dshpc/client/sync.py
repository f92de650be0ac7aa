"""The synchronous client: one connection, one method for each thing a program wants done.

Methods raise `dshpc.client.errors.DshpcError` for what the server or the connection did, and
OSError for local files. A client may be used by several threads, except that one stream is read
by one thread.
"""

import os
import pathlib
import types
from collections.abc import Generator, Iterable, Iterator
from typing import Self, TypeAlias

import grpc

from dshpc.client import channel, errors, files
from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    method_service_pb2,
    method_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    types_pb2,
)

AnyPath: TypeAlias = str | os.PathLike[str]


class Client:
    """A connection to a server at HOST:PORT.

    `deadline_seconds` is the longest wait for a small call; batches, streams, uploads and downloads
    have no deadline, and end when the connection is lost.
    """

    def __init__(self, target: str, *, deadline_seconds: float = 60.0) -> None:
        self.target = target
        self._deadline_seconds = deadline_seconds
        self._channel = channel.connect(target)
        self._jobs = job_service_pb2_grpc.JobServiceStub(self._channel)
        self._batches = batch_service_pb2_grpc.BatchServiceStub(self._channel)
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

    # Jobs

    def run(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        display_name: str = "",
        until: types_pb2.Until.ValueType = types_pb2.UNTIL_RESOLVED,
        timeout_seconds: float | None = None,
    ) -> job_service_pb2.SimulateJobsResponse:
        """Resolve a batch and return the consolidated answer.

        By default that is as soon as every config is looked up or submitted. With UNTIL_FINISHED
        it waits for the jobs, at most `timeout_seconds` and the server's own limit:
        `statistics.final` says whether all have ended. When `next_page_token` is set, the rows
        that did not fit are in `results(batch_id, page_token=next_page_token)`.
        """
        request = job_service_pb2.SimulateJobsRequest(
            jobs=configs,
            options=types_pb2.BatchOptions(display_name=display_name),
            wait=_wait(until, timeout_seconds),
        )
        with errors.translated():
            return self._jobs.SimulateJobs(request)

    def stream(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        display_name: str = "",
        until: types_pb2.Until.ValueType = types_pb2.UNTIL_FINISHED,
        timeout_seconds: float | None = None,
        options: types_pb2.StreamOptions | None = None,
    ) -> Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]:
        """Run a batch and yield its events as they come; the last one holds `statistics`.

        The request is sent when the first event is asked for. Raises IncompleteStreamError when
        an accepted batch's stream ends without statistics; the jobs go on, and
        `results(batch_id)` reads them. Closing the iterator ends the stream, never the jobs.
        """
        request = job_service_pb2.StreamSimulateJobsRequest(
            jobs=configs,
            options=types_pb2.BatchOptions(display_name=display_name),
            wait=_wait(until, timeout_seconds),
            stream=options,
        )
        call = self._jobs.StreamSimulateJobs(request)
        try:
            yield from _complete(call)
        finally:
            call.cancel()

    def job(self, job_id: str) -> job_service_pb2.Job:
        """Return one job as it is now. Never submits."""
        request = job_service_pb2.GetJobRequest(job_id=job_id)
        with errors.translated():
            return self._jobs.GetJob(request, timeout=self._deadline_seconds).job

    def results(
        self,
        batch_id: str,
        *,
        page_token: str = "",
        page_size: int = 0,
        statuses: Iterable[types_pb2.JobStatus.ValueType] = (),
        outcomes: Iterable[types_pb2.Outcome.ValueType] = (),
    ) -> Iterator[types_pb2.MultiJobResult]:
        """Yield a batch's rows in index order, page by page."""
        request = batch_service_pb2.ListBatchResultsRequest(
            batch_id=batch_id,
            page_size=page_size,
            page_token=page_token,
            statuses=statuses,
            outcomes=outcomes,
        )
        while True:
            with errors.translated():
                page = self._batches.ListBatchResults(request, timeout=self._deadline_seconds)
            yield from page.results
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    # Files

    def upload(self, path: AnyPath) -> str:
        """Store a local file, unless it is stored already, and return its hash."""
        return self.upload_missing([path])[0].file_hash

    def upload_missing(
        self, paths: Iterable[AnyPath], on_progress: files.OnProgress | None = None
    ) -> list[files.UploadedFile]:
        """Store those of the local files that are not stored; one answer a path, in order.

        `on_progress` is called in this thread, a few times a second. Raises FileChangedError when
        a file changes meanwhile.
        """
        return files.upload_missing(
            self._files,
            [files.read(pathlib.Path(path)) for path in paths],
            deadline_seconds=self._deadline_seconds,
            on_progress=on_progress,
        )

    def find_missing(self, file_hashes: Iterable[str]) -> list[str]:
        """Return those of the hashes that are not stored, each once, in the order given."""
        return files.find_missing(self._files, file_hashes, deadline_seconds=self._deadline_seconds)

    def download(self, file_hash: str, path: AnyPath) -> int:
        """Write a file or an output to `path` and return its size in bytes.

        The name appears only when the content is whole and its hash is right, and then replaces
        what stood there. Raises CorruptDownloadError for other bytes.
        """
        return files.fetch(self._files, file_hash, pathlib.Path(path))

    # Methods and server

    def methods(self) -> Iterator[method_service_pb2.Method]:
        """Yield the newest version of every installed method, by name."""
        request = method_service_pb2.ListMethodsRequest()
        while True:
            with errors.translated():
                page = self._methods.ListMethods(request, timeout=self._deadline_seconds)
            yield from page.methods
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def method(self, name: str) -> method_service_pb2.GetMethodResponse:
        """Return one method: the newest version, and every version that was loaded."""
        request = method_service_pb2.GetMethodRequest(method_name=name)
        with errors.translated():
            return self._methods.GetMethod(request, timeout=self._deadline_seconds)

    def server_info(self) -> server_service_pb2.GetServerInfoResponse:
        """Return what the server is and allows."""
        request = server_service_pb2.GetServerInfoRequest()
        with errors.translated():
            return self._server.GetServerInfo(request, timeout=self._deadline_seconds)


def _wait(until: types_pb2.Until.ValueType, timeout_seconds: float | None) -> types_pb2.WaitPolicy:
    policy = types_pb2.WaitPolicy(until=until)
    if timeout_seconds is not None:
        policy.timeout.FromNanoseconds(round(timeout_seconds * 1e9))
    return policy


def _complete(
    call: Iterator[job_service_pb2.StreamSimulateJobsResponse],
) -> Iterator[job_service_pb2.StreamSimulateJobsResponse]:
    """Yield a stream's events; raise unless statistics close it."""
    batch_id = ""
    try:
        for event in call:
            yield event
            kind = event.WhichOneof("event")
            if kind == "statistics":
                return
            if kind == "accepted":
                batch_id = event.accepted.batch_id
    except grpc.RpcError as error:
        cause = errors.from_rpc(error)
        if not batch_id:
            raise cause from error
        raise errors.IncompleteStreamError(batch_id, reason=str(cause)) from cause
    raise errors.IncompleteStreamError(batch_id, reason="the server ended it")
