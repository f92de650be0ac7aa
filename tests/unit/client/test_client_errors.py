"""How failed calls are told, and which are tried again before they are."""

import socket

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from dshpc import client as dshpc_client
from dshpc.client import Client, ServerUnavailableError, Violation
from dshpc.v1 import types_pb2
from support.both_clients import Connect
from support.fake_service import FakeService


def configs(count: int) -> list[types_pb2.JobConfig]:
    return [types_pb2.JobConfig(method_name="count_lines") for _ in range(count)]


def test_a_call_that_may_be_made_twice_is_tried_again_while_the_server_is_unavailable(
    client: Client, service: FakeService
) -> None:
    unavailable = [grpc.StatusCode.UNAVAILABLE] * 2
    for rpc in ("GetServerInfo", "SimulateJobs", "StreamSimulateJobs"):
        service.refusals[rpc] = [*unavailable]

    assert client.server_info().engine == "local"
    assert client.run(configs(1)).results[0].index == 0
    assert list(client.stream(configs(1)))[-1].HasField("statistics")

    assert service.asked == {"GetServerInfo": 3, "SimulateJobs": 3, "StreamSimulateJobs": 3}


def test_a_batch_that_is_only_validated_is_tried_again_whatever_it_asks(
    client: Client, service: FakeService
) -> None:
    service.refusals["SimulateJobs"] = [grpc.StatusCode.UNAVAILABLE]
    options = types_pb2.BatchOptions(
        cache_policy=types_pb2.CACHE_POLICY_REFRESH, validate_only=True
    )

    assert client.run(configs(1), options=options).statistics.total_jobs == 1

    assert service.asked == {"SimulateJobs": 2}


def test_a_large_batch_is_tried_again_too(client: Client, service: FakeService) -> None:
    service.refusals["SimulateJobs"] = [grpc.StatusCode.UNAVAILABLE]
    large = types_pb2.JobConfig(method_name="count_lines", config_id="x" * (3 << 20))

    assert client.run([large]).statistics.total_jobs == 1

    assert service.asked["SimulateJobs"] == 2


def test_only_unavailability_is_tried_again(client: Client, service: FakeService) -> None:
    service.refusals["GetServerInfo"] = [grpc.StatusCode.INTERNAL]

    with pytest.raises(dshpc_client.ServerError):
        client.server_info()

    assert service.asked["GetServerInfo"] == 1


def test_a_server_that_is_not_there_is_unavailable_and_named(connect: Connect) -> None:
    with socket.socket() as bound:  # bound, but nobody listens
        bound.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{bound.getsockname()[1]}"
        with (
            connect(target) as client,
            pytest.raises(ServerUnavailableError, match=rf"server at {target}: .*refused"),
        ):
            client.server_info()


def test_a_host_that_has_no_address_is_told_without_the_words_of_grpc(connect: Connect) -> None:
    with (
        connect("no host:50051") as client,
        pytest.raises(
            ServerUnavailableError, match=r"^cannot reach .* at no host:50051: [^\[\]]+$"
        ),
    ):
        client.server_info()


def test_a_small_call_has_a_deadline(connect: Connect) -> None:
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            connect(target, deadline_seconds=0.1) as client,
            pytest.raises(dshpc_client.TimedOutError, match=target),
        ):
            client.server_info()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, dshpc_client.ServerUnavailableError),
        (grpc.StatusCode.INVALID_ARGUMENT, dshpc_client.InvalidRequestError),
        (grpc.StatusCode.FAILED_PRECONDITION, dshpc_client.PreconditionError),
        (grpc.StatusCode.ABORTED, dshpc_client.SupersededError),
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
