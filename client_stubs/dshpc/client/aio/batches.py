"""Batches, for asyncio: run them, follow them, read their rows."""

import types
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Self

from dshpc.client import errors, failures, requests, streams
from dshpc.client.aio import connection
from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2

UNTIL_RESOLVED = types_pb2.UNTIL_RESOLVED
UNTIL_FINISHED = types_pb2.UNTIL_FINISHED


class Batches(connection.Connection):
    """The calls about batches."""

    async def run(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        until: types_pb2.Until.ValueType = UNTIL_RESOLVED,
        timeout_seconds: float | None = None,
    ) -> job_service_pb2.SimulateJobsResponse:
        """Resolve a batch and return the consolidated answer, as `Client.run`."""
        request = requests.simulate(
            configs,
            options=options,
            display_name=display_name,
            until=until,
            timeout_seconds=timeout_seconds,
        )
        return await self._call(self._stub(request).SimulateJobs, request, wait_seconds=None)

    async def stream(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        until: types_pb2.Until.ValueType = UNTIL_FINISHED,
        timeout_seconds: float | None = None,
        reporting: types_pb2.StreamOptions | None = None,
    ) -> AsyncGenerator[job_service_pb2.StreamSimulateJobsResponse, None]:
        """Run a batch and yield its events as they come, as `Client.stream`.

        An iterator that is left early ends its stream when it is closed: at once with
        `contextlib.aclosing`, else when the event loop comes to it.
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
                async for event in call:
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
    ) -> "AsyncRunningBatch":
        """Run a batch and yield each row when its job has ended, as `Client.run_each`."""
        return AsyncRunningBatch(
            self.stream(
                configs,
                options=options,
                display_name=display_name,
                timeout_seconds=timeout_seconds,
                reporting=requests.ends_only(),
            )
        )

    async def results(
        self,
        batch_id: str,
        *,
        page_token: str = "",
        page_size: int = 0,
        statuses: Iterable[types_pb2.JobStatus.ValueType] = (),
        outcomes: Iterable[types_pb2.Outcome.ValueType] = (),
        max_inline_output_bytes: int | None = None,
    ) -> AsyncIterator[types_pb2.MultiJobResult]:
        """Yield a batch's rows in index order, page by page."""
        request = requests.results(
            batch_id,
            page_token=page_token,
            page_size=page_size,
            statuses=statuses,
            outcomes=outcomes,
            max_inline_output_bytes=max_inline_output_bytes,
        )
        async for page in self._pages(self._batches.ListBatchResults, request):
            for row in page.results:
                yield row

    def _stub(self, request: requests.BatchRequest) -> "job_service_pb2_grpc.JobServiceAsyncStub":
        return self._jobs if requests.may_be_repeated(request) else self._jobs_once


class AsyncRunningBatch(streams.Rows, AsyncIterator[types_pb2.MultiJobResult]):
    """The rows of a batch as their jobs end."""

    def __init__(
        self, events: AsyncGenerator[job_service_pb2.StreamSimulateJobsResponse, None]
    ) -> None:
        super().__init__()
        self._events = events

    async def __anext__(self) -> types_pb2.MultiJobResult:
        while (row := self.next_row()) is None:
            self.take(await anext(self._events))
        return row

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
        """End the stream; the jobs go on."""
        await self._events.aclose()
