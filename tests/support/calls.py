"""Short words for what tests ask of a server: all stubs on one channel, configs, uploads."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import pytest
from google.protobuf import duration_pb2, json_format, struct_pb2
from google.rpc import status_pb2

from dshpc.v1 import (
    batch_service_pb2_grpc,
    file_service_pb2,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    method_service_pb2_grpc,
    server_service_pb2_grpc,
    types_pb2,
)
from support import live_server, site

TERMINAL = (
    types_pb2.JOB_STATUS_COMPLETED,
    types_pb2.JOB_STATUS_FAILED,
    types_pb2.JOB_STATUS_CANCELLED,
    types_pb2.JOB_STATUS_TIMEOUT,
    types_pb2.JOB_STATUS_NODE_FAIL,
    types_pb2.JOB_STATUS_OUT_OF_MEMORY,
    types_pb2.JOB_STATUS_BOOT_FAIL,
)
A_WHILE = duration_pb2.Duration(seconds=5)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """How a call failed."""

    code: grpc.StatusCode
    text: str
    status: status_pb2.Status
    """With the details; empty when there are none."""


def refusal(call: Callable[[], object]) -> Refusal:
    """Make a call that must fail; how it did."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    # Every error a call raises is a grpc.Call too, which the stubs do not know.
    error = cast("grpc.Call", caught.value)
    metadata = dict(error.trailing_metadata() or ())
    return Refusal(
        code=error.code(),
        text=str(error.details()),
        status=status_pb2.Status.FromString(metadata.get("grpc-status-details-bin", b"")),
    )


class Service:
    """Everything the server offers."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.batches = batch_service_pb2_grpc.BatchServiceStub(channel)
        self.files = file_service_pb2_grpc.FileServiceStub(channel)
        self.methods = method_service_pb2_grpc.MethodServiceStub(channel)
        self.server = server_service_pb2_grpc.ServerServiceStub(channel)

    def upload(self, content: bytes, *, filename: str = "") -> str:
        """Upload some content; its hash."""
        file_hash = site.hash_of(content)
        answer = self.files.UploadFile(
            upload_parts(file_hash, content, filename=filename), timeout=60
        )
        assert answer.file.file_hash == file_hash
        return file_hash

    def download(self, file_hash: str, offset: int = 0, limit: int = 0) -> bytes:
        """Download some content."""
        asked = file_service_pb2.DownloadFileRequest(
            file_hash=file_hash, offset=offset, limit=limit
        )
        return b"".join(part.chunk for part in self.files.DownloadFile(asked, timeout=60))

    def simulate(
        self,
        *configs: types_pb2.JobConfig,
        finished: bool = False,
        timeout: float = 60,
        **options: Any,  # noqa: ANN401 - fields by name
    ) -> job_service_pb2.SimulateJobsResponse:
        """Resolve a batch, and wait for its end if asked."""
        return self.jobs.SimulateJobs(
            job_service_pb2.SimulateJobsRequest(
                jobs=configs,
                options=types_pb2.BatchOptions(**options),
                wait=until_finished() if finished else None,
            ),
            timeout=timeout,
        )

    def stream(
        self,
        *configs: types_pb2.JobConfig,
        wait: types_pb2.WaitPolicy | None = None,
        stream: types_pb2.StreamOptions | None = None,
        timeout: float = 60,
        **options: Any,  # noqa: ANN401 - fields by name
    ) -> Iterator[job_service_pb2.StreamSimulateJobsResponse]:
        """Resolve a batch, and be told its events."""
        return self.jobs.StreamSimulateJobs(
            job_service_pb2.StreamSimulateJobsRequest(
                jobs=configs,
                options=types_pb2.BatchOptions(**options),
                wait=wait,
                stream=stream,
            ),
            timeout=timeout,
        )

    def run(
        self,
        config: types_pb2.JobConfig,
        **options: Any,  # noqa: ANN401 - fields by name
    ) -> types_pb2.MultiJobResult:
        """Run one job to its end."""
        (result,) = self.simulate(config, finished=True, **options).results
        return result

    def ask(
        self,
        config: types_pb2.JobConfig,
        **options: Any,  # noqa: ANN401 - fields by name
    ) -> types_pb2.MultiJobResult:
        """Have one job looked up, and submitted where needed."""
        (result,) = self.simulate(config, **options).results
        return result

    def job(self, job_id: str) -> job_service_pb2.Job:
        """Read one job."""
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=job_id), timeout=60).job

    def wait_for_status(self, job_id: str, *statuses: int) -> job_service_pb2.Job:
        """Read a job, again whenever its status changes, until it has one of these."""
        job = self.job(job_id)

        def reached() -> job_service_pb2.Job | None:
            nonlocal job
            if job.status not in statuses:
                asked = job_service_pb2.GetJobRequest(
                    job_id=job_id, wait=A_WHILE, known_status=job.status
                )
                job = self.jobs.GetJob(asked, timeout=60).job
            return job if job.status in statuses else None

        found: job_service_pb2.Job = live_server.wait_for(reached, f"{job_id} to be {statuses}")
        return found


def config(
    method_name: str,
    file_hash: str = "",
    parameters: dict[str, object] | None = None,
    **fields: object,
) -> types_pb2.JobConfig:
    """Return a config; without parameters the field is absent."""
    made = types_pb2.JobConfig(method_name=method_name, file_hash=file_hash)
    if parameters is not None:
        made.parameters.CopyFrom(json_format.ParseDict(parameters, struct_pb2.Struct()))
    json_format.ParseDict(fields, made)
    return made


def until_finished(timeout_seconds: int | None = None) -> types_pb2.WaitPolicy:
    """Return the policy that waits for the end."""
    wait = types_pb2.WaitPolicy(until=types_pb2.UNTIL_FINISHED)
    if timeout_seconds is not None:
        wait.timeout.FromSeconds(timeout_seconds)
    return wait


def upload_parts(
    file_hash: str,
    content: bytes,
    *,
    size_bytes: int | None = None,
    filename: str = "",
    media_type: str = "",
) -> Iterator[file_service_pb2.UploadFileRequest]:
    """The messages of an upload, in chunks of 1 MiB."""
    yield file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(
            file_hash=file_hash,
            size_bytes=len(content) if size_bytes is None else size_bytes,
            filename=filename,
            media_type=media_type,
        )
    )
    for first in range(0, len(content), 1 << 20):
        yield file_service_pb2.UploadFileRequest(chunk=content[first : first + (1 << 20)])
