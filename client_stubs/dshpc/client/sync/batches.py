"""Batches: run them, follow them, read them, cancel and retry them."""

import types
from collections.abc import Generator, Iterable, Iterator
from typing import Self

from dshpc.client import failures, requests, retries, streams
from dshpc.client.sync import connection
from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

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

        Each batch has a `request_id`, one of its own unless `options` give one, so that it is
        accepted once however often the request arrives.
        """
        request = requests.simulate(
            configs,
            options=options,
            display_name=display_name,
            until=until,
            timeout_seconds=timeout_seconds,
        )
        with failures.translated(self.target):
            return self._jobs.SimulateJobs(request)

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
    ) -> Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]:
        """Run a batch and yield its events as they come; the last one holds `statistics`.

        The request is sent when the first event is asked for. A stream that is cut off after its
        first event goes on by itself, as patiently as `retry` says, and no row comes twice with the
        same status; `on_pause` hears of it. Raises IncompleteStreamError when it cannot go on; the
        jobs do, and `watch_batch` tells the rest. Closing the iterator ends the stream, never the
        jobs, unless `options` say `cancel_on_disconnect`.
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

    def watch_batch(
        self,
        batch_id: str,
        *,
        resume_token: str = "",
        reporting: types_pb2.StreamOptions | None = None,
        max_inline_output_bytes: int | None = None,
        on_pause: streams.OnPause | None = None,
    ) -> Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]:
        """Yield the events of a batch that exists, as `stream` does; nothing is submitted.

        With the `resume_token` of an event, or of a `Batch`, those that come after it; else all.
        """
        request = requests.watch(
            batch_id,
            resume_token=resume_token,
            reporting=reporting,
            max_inline_output_bytes=max_inline_output_bytes,
        )
        return self._read(self._events, self._reading(request, on_pause))

    def watch_each(self, batch_id: str, *, resume_token: str = "") -> "RunningBatch":
        """Yield each row of a batch that exists when its job has ended, as `run_each` does."""
        return RunningBatch(
            self.watch_batch(batch_id, resume_token=resume_token, reporting=requests.ends_only())
        )

    def batch(
        self, batch_id: str, *, wait_seconds: float | None = None, if_changed_since: str = ""
    ) -> batch_service_pb2.Batch:
        """Return one batch without its rows: now, or after a wait of at most `wait_seconds`.

        The wait ends when the batch is FINISHED or, with `if_changed_since` (the `resume_token` of
        the batch as the caller knows it), when something has changed. The server has a limit of its
        own, so look at `state`.
        """
        request = requests.batch(
            batch_id, wait_seconds=wait_seconds, if_changed_since=if_changed_since
        )
        answer = self._call(self._batches.GetBatch, request, wait_seconds=wait_seconds or 0.0)
        return answer.batch

    def batches(self, *, page_size: int = 0) -> Iterator[batch_service_pb2.Batch]:
        """Yield the batches, the newest first, without `resume_token`."""
        request = batch_service_pb2.ListBatchesRequest(page_size=page_size)
        for page in self._pages(self._batches.ListBatches, request):
            yield from page.batches

    def cancel_batch(
        self, batch_id: str, *, reason: str = "", indexes: Iterable[int] = ()
    ) -> batch_service_pb2.CancelBatchResponse:
        """Withdraw a batch's interest in its rows, or in those with these indexes.

        A run that another batch waits for goes on, others are stopped; the answer counts both.
        Asking twice is harmless.
        """
        request = batch_service_pb2.CancelBatchRequest(
            batch_id=batch_id, reason=reason, indexes=indexes
        )
        return self._call(self._batches.CancelBatch, request)

    def update_batch(self, batch_id: str, *, priority: int) -> batch_service_pb2.Batch:
        """Change the priority (-100 to 100) of what has not been started yet."""
        request = batch_service_pb2.UpdateBatchRequest(batch_id=batch_id, priority=priority)
        return self._call(self._batches.UpdateBatch, request).batch

    def retry_batch(self, batch_id: str, *, request_id: str = "") -> batch_service_pb2.Batch:
        """Submit a new batch of the rows that have ended and did not complete, and return it.

        Raises PreconditionError when there is none.
        """
        request = requests.retry(batch_id, request_id=request_id)
        wait_seconds = retries.ACCEPTING_SECONDS
        return self._call(self._batches.RetryBatch, request, wait_seconds=wait_seconds).batch

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

    def _reading(
        self, asked: streams.BatchRequest, on_pause: streams.OnPause | None
    ) -> streams.BatchReading:
        return streams.BatchReading(asked, retries.Backoff(self._retry), on_pause=on_pause)

    def _events(self, request: streams.BatchRequest) -> connection.Call[streams.Event]:
        if isinstance(request, batch_service_pb2.WatchBatchRequest):
            return self._watch_batch(request)
        return self._jobs.StreamSimulateJobs(request)


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
        """End the stream; the jobs go on, unless the batch is to be cancelled with it."""
        self._events.close()
