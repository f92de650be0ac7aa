"""The fake server's batches: kept with their rows, told as events that can be cut off and resumed.

By default every config is answered as completed with the output `output INDEX`. A `resume_token`
counts the rows that were told before it.
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import grpc

from dshpc.client import statuses
from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    types_pb2,
)
from support import fake_rows, fake_script

PAGE_ROWS = 2
PAGE_BATCHES = 2

Answer: TypeAlias = Callable[[int, types_pb2.JobConfig], types_pb2.MultiJobResult]
Event: TypeAlias = job_service_pb2.StreamSimulateJobsResponse


def batch_id(number: int) -> str:
    """The name of the batch that was accepted so manieth, from 1."""
    return f"0195b1c0-0000-7000-8000-{number:012}"


BATCH_ID = batch_id(1)


@dataclasses.dataclass(kw_only=True)
class KeptBatch:
    """A batch that was accepted."""

    batch_id: str
    rows: list[types_pb2.MultiJobResult]
    display_name: str = ""
    priority: int = 0
    reason: str = ""

    def told(self) -> batch_service_pb2.Batch:
        """The batch as it is answered."""
        counts = fake_rows.statistics(self.rows)
        state = batch_service_pb2.BATCH_STATE_RUNNING
        if counts.final:
            state = batch_service_pb2.BATCH_STATE_FINISHED
        elif self.reason:
            state = batch_service_pb2.BATCH_STATE_CANCELLING
        return batch_service_pb2.Batch(
            batch_id=self.batch_id,
            display_name=self.display_name,
            state=state,
            statistics=counts,
            priority=self.priority,
            reason=self.reason,
        )


class FakeBatches(
    fake_script.Script,
    job_service_pb2_grpc.JobServiceServicer,
    batch_service_pb2_grpc.BatchServiceServicer,
):
    """Accepts batches, keeps them, and tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Answer = fake_rows.completed
        self.transitions: tuple[types_pb2.JobStatus.ValueType, ...] = ()
        """What each row goes through before it is answered, when transitions are asked for."""
        self.holds_after: int | None = None
        """Rows after which a stream says nothing more until `release` is set."""
        self.tokens_are_too_old = False
        """A stream that is resumed tells all rows again."""
        self.inline_rows: int | None = None
        """Rows of a unary answer; the others are left to pages."""
        self.coming: dict[str, list[list[types_pb2.MultiJobResult]]] = {}
        """The rows a batch comes to: one step for each GetBatch that waits."""
        self.accepted: dict[str, KeptBatch] = {}
        """What is kept, by batch_id, the oldest first."""

        self.stream_ended = threading.Event()
        self.batches: list[
            job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest
        ] = []
        """What was asked for, also when it was known."""
        self.watches: list[batch_service_pb2.WatchBatchRequest] = []
        self.pages: list[batch_service_pb2.ListBatchResultsRequest] = []
        self.batch_requests: list[batch_service_pb2.GetBatchRequest] = []
        self.batch_cancels: list[batch_service_pb2.CancelBatchRequest] = []
        self.batch_retries: list[batch_service_pb2.RetryBatchRequest] = []
        self._by_request: dict[str, str] = {}

    def keep(self, rows: list[types_pb2.MultiJobResult], *, display_name: str = "") -> KeptBatch:
        """Have a batch that was accepted before."""
        name = batch_id(len(self.accepted) + 1)
        self.accepted[name] = KeptBatch(batch_id=name, rows=rows, display_name=display_name)
        return self.accepted[name]

    def SimulateJobs(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.SimulateJobsRequest, context: grpc.ServicerContext
    ) -> job_service_pb2.SimulateJobsResponse:
        self.enter("SimulateJobs", context)
        self.batches.append(request)
        kept, _ = self._accepted(request.jobs, request.options)
        shown = kept.rows if self.inline_rows is None else kept.rows[: self.inline_rows]
        is_cut = len(shown) < len(kept.rows)
        return job_service_pb2.SimulateJobsResponse(
            results=shown,
            statistics=fake_rows.statistics(kept.rows),
            batch_id=kept.batch_id,
            next_page_token=str(len(shown)) if is_cut else "",
        )

    def StreamSimulateJobs(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.StreamSimulateJobsRequest, context: grpc.ServicerContext
    ) -> Iterator[Event]:
        self.enter("StreamSimulateJobs", context)
        self.batches.append(request)
        context.add_callback(self.stream_ended.set)
        kept, is_known = self._accepted(request.jobs, request.options)
        events = self._events(kept, request.stream, 0, is_known=is_known)
        yield from self._until_cut("StreamSimulateJobs", events, context)

    def WatchBatch(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.WatchBatchRequest, context: grpc.ServicerContext
    ) -> Iterator[batch_service_pb2.WatchBatchResponse]:
        self.enter("WatchBatch", context)
        self.watches.append(request)
        kept = self._kept(request.batch_id, context)
        of_batch, _, told = request.resume_token.partition("/")
        if of_batch not in ("", kept.batch_id):
            fake_script.abort(context, grpc.StatusCode.INVALID_ARGUMENT, "of another batch")
        first = 0 if self.tokens_are_too_old else int(told or 0)
        events = self._events(kept, request.stream, first, is_known=False)
        for event in self._until_cut("WatchBatch", events, context):
            yield batch_service_pb2.WatchBatchResponse.FromString(event.SerializeToString())

    def ListBatchResults(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.ListBatchResultsRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.ListBatchResultsResponse:
        self.enter("ListBatchResults", context)
        self.pages.append(request)
        rows = self._kept(request.batch_id, context).rows
        start = int(request.page_token or 0)
        end = start + PAGE_ROWS
        return batch_service_pb2.ListBatchResultsResponse(
            results=rows[start:end], next_page_token=str(end) if end < len(rows) else ""
        )

    def GetBatch(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.GetBatchRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.GetBatchResponse:
        self.enter("GetBatch", context)
        self.batch_requests.append(request)
        kept = self._kept(request.batch_id, context)
        coming = self.coming.get(request.batch_id)
        if coming and request.HasField("wait"):
            kept.rows = coming.pop(0)
        batch = kept.told()
        batch.resume_token = f"{kept.batch_id}/{len(kept.rows)}"
        return batch_service_pb2.GetBatchResponse(batch=batch)

    def ListBatches(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.ListBatchesRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.ListBatchesResponse:
        self.enter("ListBatches", context)
        newest_first = list(self.accepted.values())[::-1]
        start = int(request.page_token or 0)
        end = start + PAGE_BATCHES
        return batch_service_pb2.ListBatchesResponse(
            batches=[kept.told() for kept in newest_first[start:end]],
            next_page_token=str(end) if end < len(newest_first) else "",
        )

    def CancelBatch(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.CancelBatchRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.CancelBatchResponse:
        self.enter("CancelBatch", context)
        self.batch_cancels.append(request)
        kept = self._kept(request.batch_id, context)
        asked = [row for row in kept.rows if not request.indexes or row.index in request.indexes]
        stopped = [row for row in asked if row.new_status in statuses.IN_PROGRESS]
        for row in stopped:
            row.new_status = types_pb2.JOB_STATUS_CANCELLED
        if not request.indexes:
            kept.reason = request.reason or "cancelled"
        return batch_service_pb2.CancelBatchResponse(
            batch=kept.told(),
            cancel_requested=len(stopped),
            already_terminal=len(asked) - len(stopped),
        )

    def UpdateBatch(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.UpdateBatchRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.UpdateBatchResponse:
        self.enter("UpdateBatch", context)
        kept = self._kept(request.batch_id, context)
        kept.priority = request.priority
        return batch_service_pb2.UpdateBatchResponse(batch=kept.told())

    def RetryBatch(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.RetryBatchRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.RetryBatchResponse:
        self.enter("RetryBatch", context)
        self.batch_retries.append(request)
        kept = self._kept(request.batch_id, context)
        jobs = [
            types_pb2.JobConfig(config_id=row.config_id, method_name=row.method_name)
            for row in kept.rows
            if row.new_status not in statuses.IN_PROGRESS | {types_pb2.JOB_STATUS_COMPLETED}
        ]
        if not jobs:
            fake_script.abort(context, grpc.StatusCode.FAILED_PRECONDITION, "nothing to retry")
        options = types_pb2.BatchOptions(
            request_id=request.request_id, display_name=kept.display_name
        )
        again, _ = self._accepted(jobs, options)
        return batch_service_pb2.RetryBatchResponse(batch=again.told())

    def _accepted(
        self, jobs: Iterable[types_pb2.JobConfig], options: types_pb2.BatchOptions
    ) -> tuple[KeptBatch, bool]:
        """The batch for a request, and whether the request was known."""
        known = self._by_request.get(options.request_id)
        if known is not None:
            return self.accepted[known], True
        rows = self._answered(jobs)
        if options.validate_only:
            return KeptBatch(batch_id="", rows=rows), False
        kept = self.keep(rows, display_name=options.display_name)
        kept.priority = options.priority
        if options.request_id:
            self._by_request[options.request_id] = kept.batch_id
        return kept, False

    def _answered(self, jobs: Iterable[types_pb2.JobConfig]) -> list[types_pb2.MultiJobResult]:
        rows: list[types_pb2.MultiJobResult] = []
        for config_index, config in enumerate(jobs):
            is_sweep = config.HasField("sweep")
            for sweep_index in range(_rows_of(config)):
                row = self.answer(len(rows), config)
                row.config_index = config_index
                if is_sweep:
                    row.sweep_index = sweep_index
                rows.append(row)
        return rows

    def _events(
        self, kept: KeptBatch, stream: types_pb2.StreamOptions, first: int, *, is_known: bool
    ) -> Iterator[Event]:
        """Tell the rows from this one on."""
        accepted = job_service_pb2.BatchAccepted(
            batch_id=kept.batch_id, total_jobs=len(kept.rows), duplicate_request=is_known
        )
        yield Event(accepted=accepted, resume_token=f"{kept.batch_id}/{first}")
        for number, row in enumerate(kept.rows[first:], start=first):
            if number == self.holds_after:
                self.release.wait()
            token = f"{kept.batch_id}/{number + 1}"
            if stream.include_transitions:
                for status in self.transitions:
                    moving = fake_rows.moving(number, _config_of(row), status)
                    yield Event(result=moving, resume_token=f"{kept.batch_id}/{number}")
            if number % 2:  # both forms, as a server may send them
                group = job_service_pb2.MultiJobResults(results=[row])
                yield Event(results=group, resume_token=token)
            else:
                yield Event(result=row, resume_token=token)
        yield Event(statistics=fake_rows.statistics(kept.rows))

    def _until_cut(
        self, rpc: str, events: Iterator[Event], context: grpc.ServicerContext
    ) -> Iterator[Event]:
        cut = self.next_cut(rpc)
        for number, event in enumerate(events):
            if number == cut:
                if self.cut_code is not grpc.StatusCode.OK:
                    self.cut(context)
                return
            yield event

    def _kept(self, name: str, context: grpc.ServicerContext) -> KeptBatch:
        if name not in self.accepted:
            fake_script.abort(context, grpc.StatusCode.NOT_FOUND, f"batch '{name}' not found")
        return self.accepted[name]


def _rows_of(config: types_pb2.JobConfig) -> int:
    """Rows of a config, its sweep written out."""
    if not config.HasField("sweep"):
        return 1
    counts = [axis.range.count or len(axis.values) for axis in config.sweep.axes]
    is_zip = config.sweep.mode == types_pb2.SWEEP_MODE_ZIP
    return counts[0] if is_zip else math.prod(counts)


def _config_of(row: types_pb2.MultiJobResult) -> types_pb2.JobConfig:
    return types_pb2.JobConfig(config_id=row.config_id)
