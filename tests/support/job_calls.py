"""Short words for what tests ask about single jobs, and for the process trees of jobs."""

import pathlib
from collections.abc import Callable, Iterable, Iterator

from google.protobuf import duration_pb2, message

from dshpc.v1 import job_service_pb2
from support import calls, live_server

LOG_STDOUT = job_service_pb2.LOG_STDOUT
TIMEOUT_SECONDS = 60

FAMILY = """
echo "$$" >> "$(cat -- "$1")"
sleep 600 & echo "$!" >> "$(cat -- "$1")"
setsid bash -c 'echo "$$" >> "$(cat -- "$1")"; sleep 600 & echo "$!" >> "$(cat -- "$1")"; wait' \
  grandchild "$1" &
setsid bash -c 'trap "" TERM INT HUP; echo "$$" >> "$(cat -- "$1")"; while :; do sleep 1; done' \
  stubborn "$1" &
wait
"""
"""A method that has children, children of children in sessions of their own, and one that does not
listen to signals. Their process ids go to the file that its input names."""
FAMILY_SIZE = 5


class Family:
    """The processes of one job of the method `family`, counted outside the service."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    @property
    def content(self) -> bytes:
        """What to upload as the job's input."""
        return str(self._path).encode()

    def pids(self) -> list[int]:
        """Wait until all of them have said who they are."""
        return list(
            live_server.wait_for(
                lambda: self._told() if len(self._told()) == FAMILY_SIZE else None,
                "the whole family",
            )
        )

    def _told(self) -> list[int]:
        return [int(pid) for pid in self._path.read_text().split()] if self._path.exists() else []


def alive(pids: list[int]) -> list[int]:
    """Those of these processes that live; what has ended and waits for its parent does not."""
    found = []
    for pid in pids:
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat.rpartition(")")[2].split()[0] not in "ZX":
            found.append(pid)
    return found


def get(
    service: calls.Service,
    job_id: str,
    wait_seconds: float | None = None,
    *,
    known_status: int = 0,
    timeout: float = TIMEOUT_SECONDS,
) -> job_service_pb2.Job:
    """Read a job, and wait as asked."""
    asked = job_service_pb2.GetJobRequest(
        job_id=job_id,
        wait=duration(wait_seconds),
        known_status=known_status,  # type: ignore[arg-type]  # any number
    )
    return service.jobs.GetJob(asked, timeout=timeout).job


def duration(seconds: float | None) -> duration_pb2.Duration | None:
    if seconds is None:
        return None
    made = duration_pb2.Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made


def cancel(
    service: calls.Service, job_id: str, reason: str = "", timeout: float = TIMEOUT_SECONDS
) -> job_service_pb2.Job:
    """Cancel a job."""
    asked = job_service_pb2.CancelJobRequest(job_id=job_id, reason=reason)
    return service.jobs.CancelJob(asked, timeout=timeout).job


def refused(rpc: Callable[..., object], request: message.Message) -> calls.Refusal:
    """How a unary call is refused."""
    return calls.refusal(lambda: rpc(request, timeout=TIMEOUT_SECONDS))


def refused_stream(rpc: Callable[..., Iterable[object]], request: message.Message) -> calls.Refusal:
    """How a stream is refused, or ended."""
    return calls.refusal(lambda: list(rpc(request, timeout=TIMEOUT_SECONDS)))


def listed(service: calls.Service, **asked: object) -> Iterator[job_service_pb2.ListJobsResponse]:
    """Every page of a listing."""
    token = ""
    while True:
        request = job_service_pb2.ListJobsRequest(page_token=token, **asked)  # type: ignore[arg-type]  # by name
        page = service.jobs.ListJobs(request, timeout=TIMEOUT_SECONDS)
        yield page
        token = page.next_page_token
        if not token:
            return


def log(
    service: calls.Service, job_id: str, timeout: float = TIMEOUT_SECONDS, **asked: int
) -> Iterator[job_service_pb2.ReadJobLogResponse]:
    """Read a log."""
    request = job_service_pb2.ReadJobLogRequest(job_id=job_id, **asked)  # type: ignore[arg-type]  # by name
    return service.jobs.ReadJobLog(request, timeout=timeout)


def log_bytes(service: calls.Service, job_id: str, **asked: int) -> bytes:
    """Read a log as one."""
    return b"".join(part.data for part in log(service, job_id, **asked))
