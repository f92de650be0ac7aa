"""What is asked about single jobs, read within bounds; the rest raises InvalidRequestError."""

from collections.abc import Sequence

from dshpc.v1 import job_service_pb2
from dshpc_server import errors
from dshpc_server.batches import listing, logs, polling
from dshpc_server.domain import identity
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import known, limits, moments, requests, words

MAX_REASON_BYTES = 256
_LOGS = {
    job_service_pb2.LOG_UNSPECIFIED: logs.Log.STDERR,
    job_service_pb2.LOG_STDOUT: logs.Log.STDOUT,
    job_service_pb2.LOG_STDERR: logs.Log.STDERR,
}


def job_id(text: str) -> str:
    """Read the name of a job."""
    if not identity.is_hash(text):
        raise _invalid("job_id", "must be 64 lower-case hex digits")
    return text


def bounded(seconds: float, seconds_left: float | None) -> float:
    """Cut a wait so that its answer arrives before the caller's deadline."""
    if seconds_left is None:
        return seconds
    return max(0.0, min(seconds, seconds_left - requests.DEADLINE_MARGIN_SECONDS))


def wait(
    asked: job_service_pb2.GetJobRequest, max_seconds: float, seconds_left: float | None
) -> polling.Wait:
    """Read what is waited for, and how long."""
    known.refuse_unknown("wait", asked.wait)
    seconds = moments.seconds(asked.wait)
    if seconds < 0:
        raise _invalid("wait", "must not be negative")
    known_status = None
    if asked.known_status:
        known_status = _status("known_status", asked.known_status)
    return polling.Wait(
        seconds=bounded(min(seconds, max_seconds), seconds_left), known_status=known_status
    )


def reason(text: str) -> str:
    """Read why a job is cancelled."""
    if len(text.encode()) > MAX_REASON_BYTES:
        raise _invalid("reason", f"is over {MAX_REASON_BYTES} bytes")
    return text


def wanted(asked: job_service_pb2.ListJobsRequest) -> listing.Filter:
    """Read which jobs are to be listed."""
    if len(asked.method_name.encode()) > limits.MAX_METHOD_NAME_BYTES:
        raise _invalid("method_name", f"is over {limits.MAX_METHOD_NAME_BYTES} bytes")
    return listing.Filter(
        statuses=_statuses("statuses", asked.statuses), method_name=asked.method_name
    )


def log(asked: job_service_pb2.ReadJobLogRequest) -> logs.Log:
    """Read which stream is wanted."""
    if asked.log not in _LOGS:
        raise _invalid("log", f"{asked.log} is not a value of Log")
    return _LOGS[asked.log]


def span(asked: job_service_pb2.ReadJobLogRequest) -> logs.Span:
    """Read which bytes of a log are wanted."""
    for field in ("attempt", "offset", "tail_bytes", "limit_bytes"):
        if getattr(asked, field) < 0:
            raise _invalid(field, "must not be negative")
    if asked.offset and asked.tail_bytes:
        raise _invalid("tail_bytes", "not together with offset")
    return logs.Span(
        offset=asked.offset,
        tail_bytes=asked.tail_bytes,
        limit_bytes=asked.limit_bytes,
        follow=asked.follow,
    )


def _statuses(field: str, values: Sequence[int]) -> frozenset[JobStatus]:
    return frozenset(_status(f"{field}[{index}]", value) for index, value in enumerate(values))


def _status(field: str, value: int) -> JobStatus:
    if value not in words.STATUS_OF:
        raise _invalid(field, f"{value} cannot be asked for")
    return words.STATUS_OF[value]


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
