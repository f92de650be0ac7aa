"""Batches, for asyncio: run them, follow them, read them, cancel and retry them."""

import types
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Self

from dshpc.client import requests, retries, streams
from dshpc.client.aio import connection
from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

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
        return await self._call(self._jobs.SimulateJobs, request, wait_seconds=None)

    def stream(
        self,
        configs: Iterable[types_pb2.JobConfig],
        *,
        options: types_pb2.BatchOptions | None = None,
        display_name: str = "",
        until: types_pb2.Until.ValueType = UNTIL_FINISHED,
        timeout_seconds: float | None = None,
        reporting: types_pb2.StreamOptions | None = None,
        on_pause: streams.OnPause | None = None,
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
        return self._read(self._events, self._reading(request, on_pause))

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

    def watch_batch(
        self,
        batch_id: str,
        *,
        resume_token: str = "",
        reporting: types_pb2.StreamOptions | None = None,
        max_inline_output_bytes: int | None = None,
        on_pause: streams.OnPause | None = None,
    ) -> AsyncGenerator[job_service_pb2.StreamSimulateJobsResponse, None]:
        """Yield the events of a batch that exists, as `Client.watch_batch`."""
        request = requests.watch(
            batch_id,
            resume_token=resume_token,
            reporting=reporting,
            max_inline_output_bytes=max_inline_output_bytes,
        )
        return self._read(self._events, self._reading(request, on_pause))

    def watch_each(self, batch_id: str, *, resume_token: str = "") -> "AsyncRunningBatch":
        """Yield each row of a batch that exists when its job has ended, as `run_each` does."""
        return AsyncRunningBatch(
            self.watch_batch(batch_id, resume_token=resume_token, reporting=requests.ends_only())
        )

    async def batch(
        self, batch_id: str, *, wait_seconds: float | None = None, if_changed_since: str = ""
    ) -> batch_service_pb2.Batch:
        """Return one batch without its rows: now, or after a wait, as `Client.batch`."""
        request = requests.batch(
            batch_id, wait_seconds=wait_seconds, if_changed_since=if_changed_since
        )
        answer = await self._call(self._batches.GetBatch, request, wait_seconds=wait_seconds or 0.0)
        return answer.batch

    async def batches(self, *, page_size: int = 0) -> AsyncIterator[batch_service_pb2.Batch]:
        """Yield the batches, the newest first, without `resume_token`."""
        request = batch_service_pb2.ListBatchesRequest(page_size=page_size)
        async for page in self._pages(self._batches.ListBatches, request):
            for batch in page.batches:
                yield batch

    async def cancel_batch(
        self, batch_id: str, *, reason: str = "", indexes: Iterable[int] = ()
    ) -> batch_service_pb2.CancelBatchResponse:
        """Withdraw a batch's interest in its rows, or in some, as `Client.cancel_batch`."""
        request = batch_service_pb2.CancelBatchRequest(
            batch_id=batch_id, reason=reason, indexes=indexes
        )
        return await self._call(self._batches.CancelBatch, request)

    async def update_batch(self, batch_id: str, *, priority: int) -> batch_service_pb2.Batch:
        """Change the priority of what has not been started yet, as `Client.update_batch`."""
        request = batch_service_pb2.UpdateBatchRequest(batch_id=batch_id, priority=priority)
        return (await self._call(self._batches.UpdateBatch, request)).batch

    async def retry_batch(self, batch_id: str, *, request_id: str = "") -> batch_service_pb2.Batch:
        """Submit a new batch of the rows that did not complete, as `Client.retry_batch`."""
        request = requests.retry(batch_id, request_id=request_id)
        wait_seconds = retries.ACCEPTING_SECONDS
        answer = await self._call(self._batches.RetryBatch, request, wait_seconds=wait_seconds)
        return answer.batch

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

    def _reading(
        self, asked: streams.BatchRequest, on_pause: streams.OnPause | None
    ) -> streams.BatchReading:
        return streams.BatchReading(asked, retries.Backoff(self._retry), on_pause=on_pause)

    def _events(self, request: streams.BatchRequest) -> connection.Call[streams.Event]:
        if isinstance(request, batch_service_pb2.WatchBatchRequest):
            return self._watch_batch(request)
        return self._jobs.StreamSimulateJobs(request)


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
        """End the stream; the jobs go on, unless the batch is to be cancelled with it."""
        await self._events.aclose()
