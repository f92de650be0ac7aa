"""Single jobs: read, list, follow and cancel them, and read their logs."""

import time
from collections.abc import Iterable, Iterator

from dshpc.client import errors, readings, requests, retries, watching
from dshpc.client.sync import connection
from dshpc.v1 import job_service_pb2, types_pb2

UNKNOWN = types_pb2.JOB_STATUS_UNSPECIFIED


class Jobs(connection.Connection):
    """The calls about single jobs. None of them submits anything."""

    def job(
        self,
        job_id: str,
        *,
        wait_seconds: float | None = None,
        known_status: types_pb2.JobStatus.ValueType = UNKNOWN,
    ) -> job_service_pb2.Job:
        """Return one job: now, or after a wait of at most `wait_seconds`.

        The wait ends when the job has ended or, with `known_status`, when its status is another
        one. The server has a limit of its own, so look at `status`.
        """
        request = requests.job(job_id, wait_seconds=wait_seconds, known_status=known_status)
        return self._call(self._jobs.GetJob, request, wait_seconds=wait_seconds or 0.0).job

    def watch(self, job_id: str) -> Iterator[job_service_pb2.Job]:
        """Yield the job now and whenever its status changes, until it has ended.

        Once the server has answered, this goes on over times when it is unavailable. Statuses that
        pass quickly may be left out; the last one never is.
        """
        watch = watching.JobWatch(job_id, self._retry)
        while not watch.is_over:
            request = watch.request()
            try:
                job = self._call(self._jobs.GetJob, request, wait_seconds=request.wait.seconds).job
            except errors.ServerUnavailableError as error:
                time.sleep(watch.pause_seconds(error))
                continue
            if watch.take(job):
                yield job
            else:
                time.sleep(watch.unchanged_pause_seconds)

    def jobs(
        self,
        *,
        statuses: Iterable[types_pb2.JobStatus.ValueType] = (),
        method_name: str = "",
        page_size: int = 0,
    ) -> Iterator[job_service_pb2.Job]:
        """Yield the jobs, those with the newest attempt first, without `output` and `attempts`."""
        request = job_service_pb2.ListJobsRequest(
            page_size=page_size, statuses=statuses, method_name=method_name
        )
        for page in self._pages(self._jobs.ListJobs, request):
            yield from page.jobs

    def cancel(self, job_id: str, *, reason: str = "") -> job_service_pb2.Job:
        """Stop a job's run for everybody who waits for it, and return the job.

        It is CANCELLED, still stopping, or had ended before; asking twice is harmless.
        """
        request = job_service_pb2.CancelJobRequest(job_id=job_id, reason=reason)
        return self._call(self._jobs.CancelJob, request).job

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
    ) -> Iterator[job_service_pb2.ReadJobLogResponse]:
        """Yield what an attempt (0: the newest) wrote to its standard error or output.

        From byte `offset` on, or only the last `tail_bytes`; at most `limit_bytes`. With `follow`
        also what comes until the attempt has ended. A reading that is cut off goes on at the next
        byte of the same attempt. `data` may end in the middle of a character.
        """
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
