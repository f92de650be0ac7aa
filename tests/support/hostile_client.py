"""A client that is in the middle of a call, to be killed there: `python hostile_client.py …`.

Words: the server's address, the kind of call, and what that needs. Prints `in the middle` when it
is, and then waits for ever.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import duration_pb2
from grpc_health.v1 import health_pb2

from dshpc.v1 import (
    file_service_pb2,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    types_pb2,
)

MIDDLE = "in the middle"
STEADY_WINDOWS = ("grpc.http2.bdp_probe", 0)
"""They grow with what a connection can carry, else, until a whole file is under way at once."""
_FOREVER = threading.Event()
_CHUNK = b"x" * (1 << 20)


def _silent(*first: object) -> Iterator[Any]:
    """What is sent, and then nothing more, without an end."""
    yield from first
    _FOREVER.wait()


def _simulate(channel: grpc.Channel, file_hash: str) -> None:
    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[types_pb2.JobConfig(method_name="hold", file_hash=file_hash)],
        wait=types_pb2.WaitPolicy(until=types_pb2.UNTIL_FINISHED),
    )
    _kept.append(job_service_pb2_grpc.JobServiceStub(channel).SimulateJobs.future(asked))


def _get_job(channel: grpc.Channel, job_id: str) -> None:
    asked = job_service_pb2.GetJobRequest(job_id=job_id, wait=duration_pb2.Duration(seconds=600))
    _kept.append(job_service_pb2_grpc.JobServiceStub(channel).GetJob.future(asked))


def _stream(channel: grpc.Channel, file_hash: str) -> None:
    asked = job_service_pb2.StreamSimulateJobsRequest(
        jobs=[types_pb2.JobConfig(method_name="hold", file_hash=file_hash)]
    )
    _kept.append(job_service_pb2_grpc.JobServiceStub(channel).StreamSimulateJobs(asked))
    next(_kept[0])


def _log(channel: grpc.Channel, job_id: str) -> None:
    asked = job_service_pb2.ReadJobLogRequest(job_id=job_id, follow=True)
    _kept.append(job_service_pb2_grpc.JobServiceStub(channel).ReadJobLog(asked))
    next(_kept[0])


def _upload(channel: grpc.Channel, file_hash: str) -> None:
    header = file_service_pb2.UploadHeader(file_hash=file_hash, size_bytes=1 << 30)
    parts = _silent(
        file_service_pb2.UploadFileRequest(header=header),
        file_service_pb2.UploadFileRequest(chunk=_CHUNK),
        file_service_pb2.UploadFileRequest(chunk=_CHUNK),
    )
    _kept.append(file_service_pb2_grpc.FileServiceStub(channel).UploadFile.future(parts))


def _download(channel: grpc.Channel, file_hash: str) -> None:
    asked = file_service_pb2.DownloadFileRequest(file_hash=file_hash)
    _kept.append(file_service_pb2_grpc.FileServiceStub(channel).DownloadFile(asked))
    next(_kept[0])


def _watch(channel: Any, _: str) -> None:  # noqa: ANN401 - a channel, asked in bytes
    asked = health_pb2.HealthCheckRequest().SerializeToString()
    _kept.append(channel.unary_stream("/grpc.health.v1.Health/Watch")(asked))
    next(_kept[0])


def _reflect(channel: Any, _: str) -> None:  # noqa: ANN401 - a channel, asked in bytes
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    _kept.append(call(_silent(b"\x3a\x01*")))  # list_services
    next(_kept[0])


_kept: list[Any] = []
"""A call that nobody holds is cancelled."""
CALLS: dict[str, Callable[[grpc.Channel, str], None]] = {
    "unary wait": _simulate,
    "long poll": _get_job,
    "server stream": _stream,
    "upload": _upload,
    "download": _download,
    "log": _log,
    "health watch": _watch,
    "reflection": _reflect,
}


def main() -> None:
    """Begin the call and stay."""
    address, kind, about = sys.argv[1:]
    channel = grpc.insecure_channel(address, options=[STEADY_WINDOWS])
    grpc.channel_ready_future(channel).result(30)
    CALLS[kind](channel, about)
    sys.stdout.write(MIDDLE + "\n")
    sys.stdout.flush()
    _FOREVER.wait()


if __name__ == "__main__":
    main()
