"""SimulateJobs and StreamSimulateJobs: the two calls of JobService that submit.

Read the request, have it simulated, pack what comes. A row is encoded once, at the moment it is
sent: its parts are joined, and its output is put in or taken out as the caller asked.
"""

import asyncio
from collections.abc import Callable, Sequence

from dshpc.v1 import job_service_pb2
from dshpc_server import clock
from dshpc_server.batches import inlining, results, simulation, streaming
from dshpc_server.store import committer, records
from dshpc_server.transport import (
    answers,
    batch_events,
    edge,
    limits,
    options,
    pages,
    requests,
)

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
        events: batch_events.EventSender,
        committer: committer.Committer,
        clock: clock.Clock,
    ) -> None:
        self._simulation = simulation
        self._reader = reader
        self._inlining = inlining
        self._events = events
        self._committer = committer
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
        if answer.rows is None:
            return await self._read_back(answer, encode, max_bytes)
        return await asyncio.to_thread(self._packed, answer, answer.rows, encode, max_bytes)

    async def stream_simulate_jobs(
        self, asked: job_service_pb2.StreamSimulateJobsRequest, call: edge.Call
    ) -> None:
        """Resolve a batch, tell its events."""
        rows_per_message = options.results_per_message(asked.stream)
        inline_bytes = options.max_inline_output_bytes("options.", asked.options)
        wait = self._reader.stream_wait(asked)
        reporting = options.reporting(asked.stream)
        batch = await asyncio.to_thread(self._reader.batch, asked)
        packing = streaming.Packing(
            encode=self._inlining.encoder(inline_bytes, validates=batch.validate_only),
            rows_per_message=rows_per_message,
            max_bytes=limits.DEFAULT_RESPONSE_BYTES,
            in_thread=self._inlining.reads_files(inline_bytes),
        )
        await self._events.send(self._simulation.events(batch, wait, reporting, packing), call)

    def _packed(
        self,
        answer: simulation.Answer,
        known: Sequence[records.Row],
        encode: Encode,
        max_bytes: int,
    ) -> bytes:
        rows = results.fitting(map(encode, known), max_bytes - _CLOSING_BYTES)
        # What was only validated was not stored: there is no page to go on with.
        is_cut = len(rows) < len(known) and answer.batch_id
        return self._response(answer, rows, len(rows) if is_cut else None)

    async def _read_back(self, answer: simulation.Answer, encode: Encode, max_bytes: int) -> bytes:
        """Answer as many rows of a large batch as fit, as they stand now."""
        page = await self._committer.read(
            lambda store: results.read_page(
                store,
                encode,
                answer.batch_id,
                first_index=0,
                max_rows=answer.statistics.total_jobs,
                max_bytes=max_bytes - _CLOSING_BYTES,
                wanted=results.Filter(),
            )
        )
        return await asyncio.to_thread(self._response, answer, page.rows, page.next_index)

    def _response(
        self, answer: simulation.Answer, rows: Sequence[bytes], next_index: int | None
    ) -> bytes:
        closing = job_service_pb2.SimulateJobsResponse(
            statistics=answers.statistics_message(answer.statistics, self._clock.now()),
            batch_id=answer.batch_id,
        )
        if next_index is not None:
            closing.next_page_token = pages.token(next_index, *pages.batch_rows(answer.batch_id))
        return answers.simulate_jobs(rows, closing)
