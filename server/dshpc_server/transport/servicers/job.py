"""JobService: submitting batches; reading, listing and cancelling single jobs; reading logs."""

import contextlib

from dshpc.v1 import job_service_pb2
from dshpc_server.batches import cancelling, listing, logs, polling
from dshpc_server.store import committer, records
from dshpc_server.transport import edge, job_messages, job_requests, limits, options, pages
from dshpc_server.transport.servicers import simulate


class JobServicer:
    """Serves JobService."""

    def __init__(
        self,
        *,
        simulating: simulate.Simulating,
        polling: polling.Polling,
        cancelling: cancelling.Cancelling,
        logs: logs.Logs,
        committer: committer.Committer,
        max_wait_seconds: float,
        messages: job_messages.JobMessages,
    ) -> None:
        self._simulating = simulating
        self._polling = polling
        self._cancelling = cancelling
        self._logs = logs
        self._committer = committer
        self._max_wait_seconds = max_wait_seconds
        self._messages = messages

    async def simulate_jobs(
        self, asked: job_service_pb2.SimulateJobsRequest, call: edge.Call
    ) -> bytes:
        """Resolve a batch, answer all of it at once."""
        return await self._simulating.simulate_jobs(asked, call)

    async def stream_simulate_jobs(
        self, asked: job_service_pb2.StreamSimulateJobsRequest, call: edge.Call
    ) -> None:
        """Resolve a batch, tell its events."""
        await self._simulating.stream_simulate_jobs(asked, call)

    async def get_job(
        self, asked: job_service_pb2.GetJobRequest, call: edge.Call
    ) -> job_service_pb2.GetJobResponse:
        """Read one job, at once or when it has changed."""
        job_id = job_requests.job_id(asked.job_id)
        wait = job_requests.wait(asked, self._max_wait_seconds, call.seconds_left)
        record = await self._polling.job(job_id, wait)
        return job_service_pb2.GetJobResponse(job=self._messages.whole(record))

    async def list_jobs(self, asked: job_service_pb2.ListJobsRequest, call: edge.Call) -> bytes:
        """One page of the jobs."""
        del call
        what = ("jobs", sorted(set(asked.statuses)), asked.method_name)
        after = pages.place(asked.page_token, *what)
        max_jobs = options.page_size(asked.page_size)
        wanted = job_requests.wanted(asked)
        page = await self._committer.read(
            lambda store: listing.read_page(
                store,
                self._encoded,
                after=after,
                max_jobs=max_jobs,
                max_bytes=limits.DEFAULT_RESPONSE_BYTES,
                wanted=wanted,
            )
        )
        token = "" if page.last is None else pages.token(page.last, *what)
        return job_messages.list_response(page.jobs, token)

    async def cancel_job(
        self, asked: job_service_pb2.CancelJobRequest, call: edge.Call
    ) -> job_service_pb2.CancelJobResponse:
        """Have a job stopped."""
        job_id = job_requests.job_id(asked.job_id)
        reason = job_requests.reason(asked.reason)
        wait_seconds = job_requests.bounded(cancelling.WAIT_SECONDS, call.seconds_left)
        record = await self._cancelling.cancel(job_id, reason, wait_seconds=wait_seconds)
        return job_service_pb2.CancelJobResponse(job=self._messages.whole(record))

    async def read_job_log(self, asked: job_service_pb2.ReadJobLogRequest, call: edge.Call) -> None:
        """Send what an attempt wrote, and what it will write."""
        job_id = job_requests.job_id(asked.job_id)
        log, span = job_requests.log(asked), job_requests.span(asked)
        parts = self._logs.parts(job_id, asked.attempt, log, span)
        async with contextlib.aclosing(parts):
            async for part in parts:
                await call.write(
                    job_service_pb2.ReadJobLogResponse(
                        data=part.data,
                        offset=part.offset,
                        attempt=part.attempt,
                        finished=part.is_last,
                    )
                )

    def _encoded(self, record: records.JobRecord) -> bytes:
        return self._messages.listed(record).SerializeToString()
