"""SimulateJobs and StreamSimulateJobs: the two calls of JobService that submit.

Read the request, have it simulated, pack what comes. A row is encoded once, at the moment it is
sent: its parts are joined, and its output is put in or taken out as the caller asked.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from dshpc.v1 import job_service_pb2
from dshpc_server import clock
from dshpc_server.batches import inlining, request, results, simulation
from dshpc_server.store import records
from dshpc_server.transport import answers, edge, limits, moments, options, pages, requests

_CLOSING_BYTES = 512
"""More than what an answer holds beside its rows: the statistics, the batch's name, a token."""

Encode = Callable[[records.Row], bytes]


class Simulating:
    """Serves the calls of JobService that submit."""

    def __init__(
        self,
        *,
        simulation: simulation.Simulation,
        reader: requests.RequestReader,
        inlining: inlining.Inlining,
        clock: clock.Clock,
    ) -> None:
        self._simulation = simulation
        self._reader = reader
        self._inlining = inlining
        self._clock = clock

    async def simulate_jobs(
        self, asked: job_service_pb2.SimulateJobsRequest, call: edge.Call
    ) -> bytes:
        """Resolve a batch, answer all of it at once."""
        max_bytes = options.max_response_bytes(asked.options)
        inline_bytes = options.max_inline_output_bytes("options.", asked.options)
        batch = await asyncio.to_thread(self._reader.batch, asked)
        # Only now: reading many rows takes its time from the caller's deadline.
        wait = self._reader.unary_wait(asked, call.seconds_left)
        answer = await self._simulation.answer(batch, wait)
        encode = self._inlining.encoder(inline_bytes, validates=batch.validate_only)
        return await asyncio.to_thread(self._packed, answer, encode, max_bytes)

    async def stream_simulate_jobs(
        self, asked: job_service_pb2.StreamSimulateJobsRequest, call: edge.Call
    ) -> None:
        """Resolve a batch, tell its events."""
        group_size = options.results_per_message(asked.stream)
        inline_bytes = options.max_inline_output_bytes("options.", asked.options)
        wait = self._reader.stream_wait(asked)
        reporting = options.reporting(asked.stream)
        batch = await asyncio.to_thread(self._reader.batch, asked)
        encode = self._inlining.encoder(inline_bytes, validates=batch.validate_only)
        in_thread = self._inlining.reads_files(inline_bytes)
        grouping = _Grouping(encode, group_size, in_thread=in_thread)
        await self._tell(batch, wait, reporting, grouping, call)

    def _packed(self, answer: simulation.Answer, encode: Encode, max_bytes: int) -> bytes:
        closing = job_service_pb2.SimulateJobsResponse(
            statistics=answers.statistics_message(answer.statistics, self._clock.now()),
            batch_id=answer.batch_id,
        )
        rows = results.fitting(map(encode, answer.rows), max_bytes - _CLOSING_BYTES)
        # What was only validated was not stored: there is no page to go on with.
        if len(rows) < len(answer.rows) and answer.batch_id:
            closing.next_page_token = pages.token(len(rows), *pages.batch_rows(answer.batch_id))
        return answers.simulate_jobs(rows, closing)

    async def _tell(
        self,
        batch: request.BatchRequest,
        wait: simulation.Wait,
        reporting: simulation.Reporting,
        grouping: "_Grouping",
        call: edge.Call,
    ) -> None:
        events = self._simulation.events(batch, wait, reporting)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, simulation.Results):
                    await self._tell_rows(event.rows, grouping, call)
                else:
                    await call.write(self._message(event))

    async def _tell_rows(
        self, rows: Sequence[records.Row], grouping: "_Grouping", call: edge.Call
    ) -> None:
        groups = grouping.groups(rows)
        async with contextlib.aclosing(groups):
            async for group in groups:
                await call.write(answers.result_event(group, self._clock.now()))

    def _message(self, event: simulation.BatchEvent) -> job_service_pb2.StreamSimulateJobsResponse:
        now = self._clock.now()
        message = job_service_pb2.StreamSimulateJobsResponse(event_time=moments.timestamp(now))
        match event:
            case simulation.Accepted():
                message.accepted.batch_id = event.batch_id
                message.accepted.total_jobs = event.total_jobs
            case simulation.Progress():
                message.progress.CopyFrom(answers.statistics_message(event.statistics, now))
            case simulation.Bookmark():
                message.bookmark.SetInParent()
            case simulation.Closing():
                message.statistics.CopyFrom(answers.statistics_message(event.statistics, now))
            case simulation.Results():
                raise TypeError("rows are told in groups")
        return message


class _Grouping:
    """Encodes rows and groups them by count and by bytes."""

    def __init__(self, encode: Encode, group_size: int, *, in_thread: bool) -> None:
        self._encode = encode
        self._group_size = group_size
        self._in_thread = in_thread

    async def groups(self, rows: Sequence[records.Row]) -> AsyncGenerator[Sequence[bytes], None]:
        group: list[bytes] = []
        size = 0
        for row in rows:
            # Most rows are a join of bytes; those that may read a file do so in a thread.
            if self._in_thread:
                encoded = await asyncio.to_thread(self._encode, row)
            else:
                encoded = self._encode(row)
            size += len(encoded) + results.FRAME_BYTES
            if group and (len(group) == self._group_size or size > limits.DEFAULT_RESPONSE_BYTES):
                yield group
                group, size = [], len(encoded) + results.FRAME_BYTES
            group.append(encoded)
        if group:
            yield group
