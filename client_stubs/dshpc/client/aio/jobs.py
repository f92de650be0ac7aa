"""Single jobs, for asyncio: read, list, follow and cancel them, and read their logs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from dshpc.client import errors, readings, requests, retries, watching
from dshpc.client.aio import connection
from dshpc.v1 import job_service_pb2, types_pb2

UNKNOWN = types_pb2.JOB_STATUS_UNSPECIFIED


class Jobs(connection.Connection):
    """The calls about single jobs. None of them submits anything."""

    async def job(
        self,
        job_id: str,
        *,
        wait_seconds: float | None = None,
        known_status: types_pb2.JobStatus.ValueType = UNKNOWN,
    ) -> job_service_pb2.Job:
        """Return one job: now, or after a wait of at most `wait_seconds`, as `Client.job`."""
        request = requests.job(job_id, wait_seconds=wait_seconds, known_status=known_status)
        answer = await self._call(self._jobs.GetJob, request, wait_seconds=wait_seconds or 0.0)
        return answer.job

    async def watch(self, job_id: str) -> AsyncGenerator[job_service_pb2.Job, None]:
        """Yield the job now and whenever its status changes until it has ended: `Client.watch`."""
        watch = watching.JobWatch(job_id, self._retry)
        while not watch.is_over:
            request = watch.request()
            try:
                answer = await self._call(
                    self._jobs.GetJob, request, wait_seconds=request.wait.seconds
                )
            except errors.ServerUnavailableError as error:
                await asyncio.sleep(watch.pause_seconds(error))
                continue
            if watch.take(answer.job):
                yield answer.job
            else:
                await asyncio.sleep(watch.unchanged_pause_seconds)

    async def jobs(
        self,
        *,
        statuses: Iterable[types_pb2.JobStatus.ValueType] = (),
        method_name: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[job_service_pb2.Job]:
        """Yield the jobs, those with the newest attempt first, without `output` and `attempts`."""
        request = job_service_pb2.ListJobsRequest(
            page_size=page_size, statuses=statuses, method_name=method_name
        )
        async for page in self._pages(self._jobs.ListJobs, request):
            for job in page.jobs:
                yield job

    async def cancel(self, job_id: str, *, reason: str = "") -> job_service_pb2.Job:
        """Stop a job's run for everybody who waits for it, as `Client.cancel`."""
        request = job_service_pb2.CancelJobRequest(job_id=job_id, reason=reason)
        return (await self._call(self._jobs.CancelJob, request)).job

    def log(
        self,
        job_id: str,
        *,
        log: job_service_pb2.Log.ValueType = job_service_pb2.LOG_STDERR,
        attempt: int = 0,
        offset: int = 0,
        tail_bytes: int = 0,
        limit_bytes: int = 0,
        follow: bool = False,
    ) -> AsyncGenerator[job_service_pb2.ReadJobLogResponse, None]:
        """Yield what an attempt wrote to its standard error or output, as `Client.log`."""
        request = job_service_pb2.ReadJobLogRequest(
            job_id=job_id,
            log=log,
            attempt=attempt,
            offset=offset,
            tail_bytes=tail_bytes,
            limit_bytes=limit_bytes,
            follow=follow,
        )
        reading = readings.LogReading(request, retries.Backoff(self._retry))
        return self._read(self._jobs.ReadJobLog, reading)
