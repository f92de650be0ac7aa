"""Batches, pages, streams, and how failed calls are told."""

import grpc
import pytest

from dshpc import client as dshpc_client
from dshpc.client import Client, ServerUnavailableError
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


def test_options_are_sent_and_a_display_name_counts_more(
    client: Client, service: FakeService
) -> None:
    options = types_pb2.BatchOptions(
        cache_policy=types_pb2.CACHE_POLICY_REFRESH, display_name="options"
    )

    client.run(configs(1), options=options)
    list(client.stream(configs(1), options=options, display_name="tables"))

    asked = [request.options for request in service.batches]
    assert [sent.cache_policy for sent in asked] == [types_pb2.CACHE_POLICY_REFRESH] * 2
    assert [sent.display_name for sent in asked] == ["options", "tables"]
    assert options.display_name == "options"


def test_a_batch_that_is_only_validated_has_a_whole_stream(
    client: Client, service: FakeService
) -> None:
    options = types_pb2.BatchOptions(validate_only=True)

    events = list(client.stream(configs(1), options=options))

    assert events[0].accepted.batch_id == ""
    assert events[-1].HasField("statistics")
    assert not service.accepted
    assert not service.batches[0].options.request_id


def test_each_row_of_a_running_batch_comes_without_its_envelope(
    client: Client, service: FakeService
) -> None:
    batch = client.run_each(configs(3), display_name="tables")

    assert next(batch).index == 0
    assert batch.batch_id == BATCH_ID
    assert [row.index for row in batch] == [1, 2]
    assert batch.statistics is not None
    assert batch.statistics.completed_jobs == 3
    assert client.run_each(configs(3)).statistics is None
    (request,) = service.batches
    assert isinstance(request, job_service_pb2.StreamSimulateJobsRequest)
    assert request.stream.max_results_per_message > 1
    assert request.wait.until == types_pb2.UNTIL_FINISHED


def test_leaving_a_running_batch_ends_the_call(client: Client, service: FakeService) -> None:
    service.holds_after = 1
    batch = client.run_each(configs(2))
    assert next(batch).index == 0

    batch.close()

    assert service.stream_ended.wait(DEADLINE_SECONDS)


def test_the_results_are_those_that_were_asked_for(client: Client, service: FakeService) -> None:
    client.run(configs(1))

    list(
        client.results(
            BATCH_ID,
            page_size=7,
            statuses=[types_pb2.JOB_STATUS_FAILED],
            outcomes=[types_pb2.OUTCOME_SUBMITTED],
            max_inline_output_bytes=0,
        )
    )
    list(client.results(BATCH_ID))

    asked, unasked = service.pages
    assert asked.page_size == 7
    assert list(asked.statuses) == [types_pb2.JOB_STATUS_FAILED]
    assert list(asked.outcomes) == [types_pb2.OUTCOME_SUBMITTED]
    assert asked.HasField("max_inline_output_bytes")
    assert not unasked.HasField("max_inline_output_bytes")


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
    with pytest.raises(dshpc_client.NotFoundError):
        client.method("c", function_hash="f" * 64)
    assert [asked.function_hash for asked in service.method_requests] == ["", "f" * 64]


def test_a_job_and_the_server_are_described(client: Client, service: FakeService) -> None:
    service.jobs["a" * 64] = job_service_pb2.Job(job_id="a" * 64, method_name="count_lines")

    assert client.job("a" * 64).method_name == "count_lines"
    assert client.server_info().engine == "local"


def test_a_stream_ends_with_statistics(client: Client, service: FakeService) -> None:
    options = types_pb2.StreamOptions(max_results_per_message=10)
    events = list(client.stream(configs(3), reporting=options))

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
