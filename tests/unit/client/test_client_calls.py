"""Batches, pages, streams, and how failed calls are told."""

import socket

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from dshpc import client as dshpc_client
from dshpc.client import Client, IncompleteStreamError, ServerUnavailableError, Violation
from dshpc.v1 import job_service_pb2, method_service_pb2, types_pb2
from support.fake_service import BATCH_ID, FakeService

DEADLINE_SECONDS = 30


def configs(count: int) -> list[types_pb2.JobConfig]:
    return [
        types_pb2.JobConfig(method_name="count_lines", config_id=f"job {number}")
        for number in range(count)
    ]


def test_a_batch_is_resolved_by_default(client: Client, service: FakeService) -> None:
    answer = client.run(configs(3), display_name="tables")

    assert [row.config_id for row in answer.results] == ["job 0", "job 1", "job 2"]
    (request,) = service.batches
    assert request.options.display_name == "tables"
    assert request.wait.until == types_pb2.UNTIL_RESOLVED
    assert not request.wait.HasField("timeout")


def test_a_wait_may_be_bounded(client: Client, service: FakeService) -> None:
    client.run(configs(1), until=types_pb2.UNTIL_FINISHED, timeout_seconds=1.5)

    (request,) = service.batches
    assert request.wait.until == types_pb2.UNTIL_FINISHED
    assert request.wait.timeout.ToMilliseconds() == 1500


def test_all_pages_of_results_are_read(client: Client, service: FakeService) -> None:
    service.inline_rows = 1
    answer = client.run(configs(6))

    rest = client.results(answer.batch_id, page_token=answer.next_page_token)

    assert [row.index for row in [*answer.results, *rest]] == list(range(6))
    assert [row.index for row in client.results(answer.batch_id)] == list(range(6))


def test_all_pages_of_methods_are_read(client: Client, service: FakeService) -> None:
    names = ["a", "b", "c", "d", "e"]
    service.methods = [method_service_pb2.Method(method_name=name) for name in names]

    assert [method.method_name for method in client.methods()] == names
    assert client.method("c").method.method_name == "c"


def test_a_job_and_the_server_are_described(client: Client, service: FakeService) -> None:
    service.jobs["a" * 64] = job_service_pb2.Job(job_id="a" * 64, method_name="count_lines")

    assert client.job("a" * 64).method_name == "count_lines"
    assert client.server_info().engine == "local"


def test_a_stream_ends_with_statistics(client: Client, service: FakeService) -> None:
    options = types_pb2.StreamOptions(max_results_per_message=10)
    events = list(client.stream(configs(3), options=options))

    assert [event.WhichOneof("event") for event in events] == [
        "accepted",
        "result",
        "results",
        "result",
        "statistics",
    ]
    (request,) = service.batches
    assert isinstance(request, job_service_pb2.StreamSimulateJobsRequest)
    assert request.stream.max_results_per_message == 10
    assert request.wait.until == types_pb2.UNTIL_FINISHED


@pytest.mark.parametrize("code", [None, grpc.StatusCode.UNAVAILABLE])
def test_a_stream_without_statistics_is_incomplete(
    client: Client, service: FakeService, code: grpc.StatusCode | None
) -> None:
    service.breaks_after = 1
    service.break_code = code
    events = client.stream(configs(3))
    assert next(events).HasField("accepted")
    assert next(events).HasField("result")

    with pytest.raises(IncompleteStreamError) as caught:
        next(events)

    assert caught.value.batch_id == BATCH_ID
    assert isinstance(caught.value.__cause__, ServerUnavailableError) == (code is not None)


def test_a_batch_that_was_not_accepted_is_a_failed_call(
    client: Client, service: FakeService
) -> None:
    service.failure = (grpc.StatusCode.UNAVAILABLE, "draining", b"")

    with pytest.raises(ServerUnavailableError, match="draining"):
        next(client.stream(configs(1)))


def test_leaving_a_stream_ends_the_call(client: Client, service: FakeService) -> None:
    service.holds_after = 1
    events = client.stream(configs(2))
    assert next(events).HasField("accepted")

    events.close()

    assert service.stream_ended.wait(DEADLINE_SECONDS)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as bound:  # bound, but nobody listens
        bound.bind(("127.0.0.1", 0))
        with (
            Client(f"127.0.0.1:{bound.getsockname()[1]}") as client,
            pytest.raises(ServerUnavailableError),
        ):
            client.server_info()


def test_a_small_call_has_a_deadline() -> None:
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(target, deadline_seconds=0.1) as client,
            pytest.raises(dshpc_client.TimedOutError),
        ):
            client.server_info()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, dshpc_client.ServerUnavailableError),
        (grpc.StatusCode.INVALID_ARGUMENT, dshpc_client.InvalidRequestError),
        (grpc.StatusCode.FAILED_PRECONDITION, dshpc_client.InvalidRequestError),
        (grpc.StatusCode.NOT_FOUND, dshpc_client.NotFoundError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, dshpc_client.LimitExceededError),
        (grpc.StatusCode.PERMISSION_DENIED, dshpc_client.AccessDeniedError),
        (grpc.StatusCode.INTERNAL, dshpc_client.ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, dshpc_client.ServerError),
    ],
)
def test_each_status_code_has_its_error(
    client: Client,
    service: FakeService,
    code: grpc.StatusCode,
    kind: type[dshpc_client.CallError],
) -> None:
    service.failure = (code, "it is so", b"")

    with pytest.raises(kind, match="it is so") as caught:
        client.server_info()

    assert type(caught.value) is kind
    assert caught.value.code is code


def packed(*details: message.Message) -> bytes:
    status = status_pb2.Status()
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        status.details.append(wrapped)
    content: bytes = status.SerializeToString()
    return content


def test_violations_and_the_time_to_wait_are_read_from_the_details(
    client: Client, service: FakeService
) -> None:
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field="jobs[3].timeout", description="must be positive")
    quota = error_details_pb2.QuotaFailure()
    quota.violations.add(subject="max_jobs_per_request", description="2 is over 1")
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2))
    unknown = types_pb2.Resources()
    service.failure = (
        grpc.StatusCode.INVALID_ARGUMENT,
        "bad",
        packed(bad_request, quota, unknown, retry),
    )

    with pytest.raises(dshpc_client.InvalidRequestError) as caught:
        client.run(configs(1))

    assert caught.value.violations == (
        Violation(field="jobs[3].timeout", description="must be positive"),
        Violation(field="max_jobs_per_request", description="2 is over 1"),
    )
    assert caught.value.retry_after_seconds == 2.0


def test_details_that_cannot_be_read_do_not_hide_the_error(
    client: Client, service: FakeService
) -> None:
    service.failure = (grpc.StatusCode.INVALID_ARGUMENT, "bad", b"\xff\xff")

    with pytest.raises(dshpc_client.InvalidRequestError, match="bad") as caught:
        client.server_info()

    assert caught.value.violations == ()
