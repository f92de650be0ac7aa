"""What is asked about single jobs: within its bounds or refused by name."""

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import logs, polling
from dshpc_server.domain.job import JobStatus
from dshpc_server.transport import job_requests

MAX_WAIT_SECONDS = 100.0


def asked(
    seconds: int | None = None, nanos: int = 0, *, known_status: int = 0
) -> job_service_pb2.GetJobRequest:
    request = job_service_pb2.GetJobRequest(
        known_status=known_status  # type: ignore[arg-type]  # numbers that mean nothing, too
    )
    if seconds is not None:
        request.wait.seconds, request.wait.nanos = seconds, nanos
    return request


def wait(request: job_service_pb2.GetJobRequest, seconds_left: float | None = None) -> polling.Wait:
    return job_requests.wait(request, MAX_WAIT_SECONDS, seconds_left)


@pytest.mark.parametrize(
    ("request_", "seconds_left", "seconds"),
    [
        (asked(), None, 0),
        (asked(), 60.0, 0),
        (asked(5, 500_000_000), None, 5.5),
        (asked(1000), None, MAX_WAIT_SECONDS),
        (asked(1000), 30.0, 29.5),
        (asked(10), 30.0, 10),
        (asked(10), 0.2, 0),
    ],
)
def test_a_wait_ends_at_the_earliest_of_its_bounds(
    request_: job_service_pb2.GetJobRequest, seconds_left: float | None, seconds: float
) -> None:
    assert wait(request_, seconds_left) == polling.Wait(seconds=seconds)


def test_a_known_status_is_read_and_a_foreign_one_refused() -> None:
    running = asked(5, known_status=types_pb2.JOB_STATUS_RUNNING)
    assert wait(running).known_status is JobStatus.RUNNING
    for number in (99, -1):
        with pytest.raises(errors.InvalidRequestError, match="known_status"):
            wait(asked(5, known_status=number))


@pytest.mark.parametrize(("seconds", "nanos"), [(-1, 0), (0, -1), (-(2**62), 0)])
def test_a_negative_wait_is_refused(seconds: int, nanos: int) -> None:
    with pytest.raises(errors.InvalidRequestError, match="wait: must not be negative"):
        wait(asked(seconds, nanos))


def test_a_job_is_named_by_its_hash() -> None:
    assert job_requests.job_id("a" * 64) == "a" * 64
    for name in ("", "a" * 63, "A" * 64, "../../etc/passwd", "a" * 65):
        with pytest.raises(errors.InvalidRequestError, match="job_id"):
            job_requests.job_id(name)


def test_a_reason_is_short() -> None:
    assert job_requests.reason("€" * 85) == "€" * 85
    assert job_requests.reason("") == ""
    with pytest.raises(errors.InvalidRequestError, match="reason: is over 256 bytes"):
        job_requests.reason("€" * 86)


def test_the_filters_of_a_listing_are_read() -> None:
    request = job_service_pb2.ListJobsRequest(
        statuses=[types_pb2.JOB_STATUS_FAILED, types_pb2.JOB_STATUS_FAILED], method_name="count"
    )
    wanted = job_requests.wanted(request)
    assert wanted.statuses == {JobStatus.FAILED}
    assert wanted.method_name == "count"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"statuses": [3, 0]}, r"statuses\[1\]: 0 cannot be asked for"),
        ({"statuses": [77]}, r"statuses\[0\]: 77"),
        ({"method_name": "x" * 257}, "method_name: is over 256 bytes"),
    ],
)
def test_foreign_filters_are_refused(fields: dict[str, object], named: str) -> None:
    request = job_service_pb2.ListJobsRequest(**fields)  # type: ignore[arg-type]  # by name
    with pytest.raises(errors.InvalidRequestError, match=named):
        job_requests.wanted(request)


def log_request(**fields: int) -> job_service_pb2.ReadJobLogRequest:
    return job_service_pb2.ReadJobLogRequest(**fields)  # type: ignore[arg-type]  # by name


def test_a_log_is_stderr_unless_told() -> None:
    assert job_requests.log(log_request()) is logs.Log.STDERR
    assert job_requests.log(log_request(log=job_service_pb2.LOG_STDERR)) is logs.Log.STDERR
    assert job_requests.log(log_request(log=job_service_pb2.LOG_STDOUT)) is logs.Log.STDOUT
    with pytest.raises(errors.InvalidRequestError, match="log: 7 is not a value of Log"):
        job_requests.log(log_request(log=7))


def test_a_span_is_read() -> None:
    span = job_requests.span(log_request(offset=3, limit_bytes=4, follow=True))
    assert span == logs.Span(offset=3, limit_bytes=4, follow=True)
    assert job_requests.span(log_request(tail_bytes=5)) == logs.Span(tail_bytes=5)


@pytest.mark.parametrize("field", ["attempt", "offset", "tail_bytes", "limit_bytes"])
def test_a_negative_number_is_refused_by_name(field: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match=f"{field}: must not be negative"):
        job_requests.span(log_request(**{field: -1}))


def test_an_offset_and_a_tail_exclude_each_other() -> None:
    with pytest.raises(errors.InvalidRequestError, match="tail_bytes: not together with offset"):
        job_requests.span(log_request(offset=1, tail_bytes=1))
