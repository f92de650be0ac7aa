"""The fake server's calls about single jobs: polls that move on, pages, cancelling, logs."""

from collections.abc import Iterator

import grpc

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2
from support import fake_script

PAGE_JOBS = 2
LOG_PART_BYTES = 4


class FakeJobs(fake_script.Script, job_service_pb2_grpc.JobServiceServicer):
    """Jobs by id, and what becomes of them while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, job_service_pb2.Job] = {}
        self.holds_jobs = False
        """A poll is answered only when `release` is set."""
        self.changes: dict[str, list[types_pb2.JobStatus.ValueType]] = {}
        """Statuses a job goes through: one step for each poll that waits."""
        self.logs: dict[str, bytes] = {}
        self.polls: list[job_service_pb2.GetJobRequest] = []
        self.log_requests: list[job_service_pb2.ReadJobLogRequest] = []
        self.job_lists: list[job_service_pb2.ListJobsRequest] = []
        self.cancelled: list[job_service_pb2.CancelJobRequest] = []

    def GetJob(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.GetJobRequest, context: grpc.ServicerContext
    ) -> job_service_pb2.GetJobResponse:
        self.enter("GetJob", context)
        self.polls.append(request)
        if self.holds_jobs:
            self.release.wait()
        job = self._job(request.job_id, context)
        coming = self.changes.get(request.job_id)
        if coming and request.HasField("wait"):
            job.status = coming.pop(0)
        return job_service_pb2.GetJobResponse(job=job)

    def ListJobs(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.ListJobsRequest, context: grpc.ServicerContext
    ) -> job_service_pb2.ListJobsResponse:
        self.enter("ListJobs", context)
        self.job_lists.append(request)
        found = [
            job
            for job in self.jobs.values()
            if request.method_name in ("", job.method_name)
            and (not request.statuses or job.status in request.statuses)
        ]
        start = int(request.page_token or 0)
        end = start + PAGE_JOBS
        return job_service_pb2.ListJobsResponse(
            jobs=found[start:end], next_page_token=str(end) if end < len(found) else ""
        )

    def CancelJob(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.CancelJobRequest, context: grpc.ServicerContext
    ) -> job_service_pb2.CancelJobResponse:
        self.enter("CancelJob", context)
        self.cancelled.append(request)
        job = self._job(request.job_id, context)
        job.status = types_pb2.JOB_STATUS_CANCELLED
        job.reason = request.reason
        return job_service_pb2.CancelJobResponse(job=job)

    def ReadJobLog(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.ReadJobLogRequest, context: grpc.ServicerContext
    ) -> Iterator[job_service_pb2.ReadJobLogResponse]:
        self.enter("ReadJobLog", context)
        self.log_requests.append(request)
        cut = self.next_cut("ReadJobLog")
        attempt = request.attempt or self._job(request.job_id, context).attempt
        content = self.logs[request.job_id]
        start = max(len(content) - request.tail_bytes, 0) if request.tail_bytes else request.offset
        end = (
            min(start + request.limit_bytes, len(content)) if request.limit_bytes else len(content)
        )
        for number, offset in enumerate(range(start, end, LOG_PART_BYTES)):
            if number == cut:
                if self.cut_code is grpc.StatusCode.OK:
                    return
                self.cut(context)
            yield job_service_pb2.ReadJobLogResponse(
                data=content[offset : min(offset + LOG_PART_BYTES, end)],
                offset=offset,
                attempt=attempt,
            )
        if cut is not None and start + cut * LOG_PART_BYTES >= end:
            self.cut(context)
        if end == len(content):
            yield job_service_pb2.ReadJobLogResponse(offset=end, attempt=attempt, finished=True)

    def _job(self, job_id: str, context: grpc.ServicerContext) -> job_service_pb2.Job:
        if job_id not in self.jobs:
            fake_script.abort(context, grpc.StatusCode.NOT_FOUND, f"job '{job_id}' not found")
        return self.jobs[job_id]
