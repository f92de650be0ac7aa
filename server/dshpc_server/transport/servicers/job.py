"""JobService: submitting batches of jobs, and reading single jobs."""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import json_format

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import clock, errors
from dshpc_server.batches import encoding, request, results, simulation
from dshpc_server.domain import identity
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import committer, port
from dshpc_server.transport import answers, edge, limits, moments, options, pages, requests, words

_CLOSING_BYTES = 512
"""More than what an answer holds beside its rows: the statistics, the batch's name, a token."""


class JobServicer:
    """Serves JobService."""

    def __init__(
        self,
        *,
        simulation: simulation.Simulation,
        committer: committer.Committer,
        reader: requests.RequestReader,
        encoder: encoding.ResultEncoder,
        engine_name: str,
        clock: clock.Clock,
    ) -> None:
        self._simulation = simulation
        self._committer = committer
        self._reader = reader
        self._encoder = encoder
        self._engine_name = engine_name
        self._clock = clock

    async def simulate_jobs(
        self, asked: job_service_pb2.SimulateJobsRequest, call: edge.Call
    ) -> bytes:
        """Resolve a batch, answer all of it at once."""
        max_bytes = options.max_response_bytes(asked.options)
        batch = await asyncio.to_thread(self._reader.batch, asked)
        # Only now: reading many rows takes its time from the caller's deadline.
        wait = self._reader.unary_wait(asked, call.seconds_left)
        answer = await self._simulation.answer(batch, wait)
        return await asyncio.to_thread(self._packed, answer, max_bytes)

    async def stream_simulate_jobs(
        self, asked: job_service_pb2.StreamSimulateJobsRequest, call: edge.Call
    ) -> None:
        """Resolve a batch, tell its events."""
        group_size = options.results_per_message(asked.stream)
        wait = self._reader.stream_wait(asked)
        reporting = options.reporting(asked.stream)
        batch = await asyncio.to_thread(self._reader.batch, asked)
        await self._tell(batch, wait, reporting, group_size, call)

    async def get_job(
        self, asked: job_service_pb2.GetJobRequest, call: edge.Call
    ) -> job_service_pb2.GetJobResponse:
        """Read one job."""
        del call
        if not identity.is_hash(asked.job_id):
            raise errors.InvalidRequestError(
                Violation(field="job_id", description="must be 64 lower-case hex digits")
            )
        found = await self._committer.read(lambda store: store.find_job(asked.job_id))
        if found is None:
            raise errors.NotFoundError("job", asked.job_id)
        return job_service_pb2.GetJobResponse(job=self._job(found))

    def _packed(self, answer: simulation.Answer, max_bytes: int) -> bytes:
        closing = job_service_pb2.SimulateJobsResponse(
            statistics=answers.statistics_message(answer.statistics, self._clock.now()),
            batch_id=answer.batch_id,
        )
        rows = [encoding.encoded_row(row, self._encoder) for row in answer.rows]
        count = results.fitting(rows, max_bytes - _CLOSING_BYTES)
        if count < len(rows):
            closing.next_page_token = pages.token(count, *pages.batch_rows(answer.batch_id))
        return answers.simulate_jobs(rows[:count], closing)

    async def _tell(
        self,
        batch: request.BatchRequest,
        wait: simulation.Wait,
        reporting: simulation.Reporting,
        group_size: int,
        call: edge.Call,
    ) -> None:
        events = self._simulation.events(batch, wait, reporting)
        async with contextlib.aclosing(events):
            async for event in events:
                for message in self._messages(event, group_size):
                    await call.write(message)

    def _messages(self, event: simulation.BatchEvent, group_size: int) -> Iterable[edge.Encoded]:
        if isinstance(event, simulation.Results):
            return self._result_messages(event.rows, group_size)
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
        return [message]

    def _result_messages(self, rows: Sequence[port.Row], group_size: int) -> Iterator[bytes]:
        group: list[bytes] = []
        size = 0
        for row in rows:
            encoded = encoding.encoded_row(row, self._encoder)
            size += len(encoded) + results.FRAME_BYTES
            if group and (len(group) == group_size or size > limits.DEFAULT_RESPONSE_BYTES):
                yield answers.result_event(group, self._clock.now())
                group, size = [], len(encoded) + results.FRAME_BYTES
            group.append(encoded)
        if group:
            yield answers.result_event(group, self._clock.now())

    def _job(self, record: port.JobRecord) -> job_service_pb2.Job:
        spec, attempt = record.spec, record.attempt
        job = job_service_pb2.Job(
            job_id=spec.job_id,
            method_name=spec.method_name,
            function_hash=spec.function_hash,
            inputs=dict(spec.inputs),
            status=words.STATUS_VALUE[attempt.status],
            attempt=attempt.key.number,
            create_time=moments.timestamp(attempt.created_at),
            engine=self._engine_name,
            engine_job_id=record.engine_job_id,
            node=record.node,
        )
        json_format.ParseDict(json.loads(spec.parameters_json), job.parameters)
        if attempt.started_at is not None:
            job.start_time.CopyFrom(moments.timestamp(attempt.started_at))
        if attempt.ended_at is not None:
            job.end_time.CopyFrom(moments.timestamp(attempt.ended_at))
        if record.ending is not None:
            _add_ending(job, record.ending)
        return job


def _add_ending(job: job_service_pb2.Job, ending: port.Ending) -> None:
    result = types_pb2.MultiJobResult.FromString(ending.result)
    job.reason = ending.reason
    job.output_hash = result.output_hash
    job.output_size_bytes = result.output_size_bytes
    if result.HasField("output"):
        job.output = result.output
    if result.HasField("exit_code"):
        job.exit_code = result.exit_code
    if result.HasField("signal"):
        job.signal = result.signal
    if result.HasField("error"):
        job.error.CopyFrom(result.error)
