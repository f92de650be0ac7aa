"""Batches: run them, follow them, read their rows."""

import types
from collections.abc import Generator, Iterable, Iterator
from typing import Self

from dshpc.client import errors, failures, requests, streams
from dshpc.client.sync import connection
from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2

UNTIL_RESOLVED = types_pb2.UNTIL_RESOLVED
UNTIL_FINISHED = types_pb2.UNTIL_FINISHED


class Batches(connection.Connection):
    """The calls about batches."""

    def run(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        until: types_pb2.Until.ValueType = UNTIL_RESOLVED,
        timeout_seconds: float | None = None,
    ) -> job_service_pb2.SimulateJobsResponse:
        """Resolve a batch and return the consolidated answer.

        By default that is as soon as every config is looked up or submitted. With UNTIL_FINISHED
        it waits for the jobs, at most `timeout_seconds` and the server's own limit:
        `statistics.final` says whether all have ended. When `next_page_token` is set, the rows
        that did not fit are in `results(batch_id, page_token=next_page_token)`.
        """
        request = requests.simulate(
            configs,
            options=options,
            display_name=display_name,
            until=until,
            timeout_seconds=timeout_seconds,
        )
        with failures.translated(self.target):
            return self._stub(request).SimulateJobs(request)

    def stream(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        until: types_pb2.Until.ValueType = UNTIL_FINISHED,
        timeout_seconds: float | None = None,
        reporting: types_pb2.StreamOptions | None = None,
    ) -> Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]:
        """Run a batch and yield its events as they come; the last one holds `statistics`.

        The request is sent when the first event is asked for. Raises IncompleteStreamError when
        an accepted batch's stream ends without statistics; the jobs go on, and
        `results(batch_id)` reads them. Closing the iterator ends the stream, never the jobs.
        """
        request = requests.stream(
            configs,
            options=options,
            display_name=display_name,
            until=until,
            timeout_seconds=timeout_seconds,
            reporting=reporting,
        )
        state = streams.BatchState()
        call = self._stub(request).StreamSimulateJobs(request)
        try:
            with failures.translated(self.target):
                # To its end: a call that is left before keeps its connection.
                for event in call:
                    state.take(event)
                    yield event
        except errors.CallError as cause:
            if not state.is_accepted:
                raise
            if not state.is_complete:
                raise state.incomplete(str(cause)) from cause
        finally:
            call.cancel()
        if not state.is_complete:
            raise state.incomplete("the server ended it")

    def run_each(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        timeout_seconds: float | None = None,
    ) -> "RunningBatch":
        """Run a batch and yield each row when its job has ended, in that order.

        Those already completed come at once, rejected ones too. `stream` tells more; this is for
        programs that want the results. Raises what `stream` raises.
        """
        return RunningBatch(
            self.stream(
                configs,
                options=options,
                display_name=display_name,
                timeout_seconds=timeout_seconds,
                reporting=requests.ends_only(),
            )
        )

    def results(
        self,
        batch_id: str,
        *,
        page_token: str = "",
        page_size: int = 0,
        statuses: Iterable[types_pb2.JobStatus.ValueType] = (),
        outcomes: Iterable[types_pb2.Outcome.ValueType] = (),
        max_inline_output_bytes: int | None = None,
    ) -> Iterator[types_pb2.MultiJobResult]:
        """Yield a batch's rows in index order, page by page."""
        request = requests.results(
            batch_id,
            page_token=page_token,
            page_size=page_size,
            statuses=statuses,
            outcomes=outcomes,
            max_inline_output_bytes=max_inline_output_bytes,
        )
        for page in self._pages(self._batches.ListBatchResults, request):
            yield from page.results

    def _stub(self, request: requests.BatchRequest) -> job_service_pb2_grpc.JobServiceStub:
        return self._jobs if requests.may_be_repeated(request) else self._jobs_once


class RunningBatch(streams.Rows, Iterator[types_pb2.MultiJobResult]):
    """The rows of a batch as their jobs end."""

    def __init__(
        self, events: Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]
    ) -> None:
        super().__init__()
        self._events = events

    def __next__(self) -> types_pb2.MultiJobResult:
        while (row := self.next_row()) is None:
            self.take(next(self._events))
        return row

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
        """End the stream; the jobs go on."""
        self._events.close()
