"""A batch's stream that is cut off goes on by itself: nothing is lost, told twice or run twice."""

import uuid
from collections.abc import Iterable

import grpc
import pytest

from dshpc.client import (
    CallError,
    Client,
    IncompleteStreamError,
    NotFoundError,
    ServerUnavailableError,
    retries,
    streams,
)
from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import fake_batches, fake_rows
from support.fake_service import BATCH_ID, FakeService

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
ATTEMPTS = 4
"""Failures in a row after which the clients of these tests give up."""
FIRST_PAUSE_SECONDS = 0.01
GRPC_ATTEMPTS = 4
"""What gRPC makes of a call that fails before its first message."""


def configs(count: int) -> list[types_pb2.JobConfig]:
    return [types_pb2.JobConfig(method_name="m", config_id=f"job {n}") for n in range(count)]


def told(events: Iterable[streams.Event]) -> list[str]:
    """Events in short: rows by index, the others by kind."""
    found: list[str] = []
    for event in events:
        kind = str(event.WhichOneof("event"))
        rows = [event.result] if kind == "result" else event.results.results
        found += [str(row.index) for row in rows] or [kind]
    return found


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.OK, *sorted(streams.BROKEN, key=lambda code: code.name)]
)
def test_a_stream_goes_on_behind_the_last_event_however_it_was_cut(
    client: Client, service: FakeService, code: grpc.StatusCode
) -> None:
    service.cut_code = code
    service.cuts["StreamSimulateJobs"] = [3]
    service.cuts["WatchBatch"] = [2, 2]
    reporting = types_pb2.StreamOptions(max_results_per_message=7)
    options = types_pb2.BatchOptions(max_inline_output_bytes=0)

    events = list(client.stream(configs(6), options=options, reporting=reporting))

    assert told(events) == ["accepted", "0", "1", "2", "3", "4", "5", "statistics"]
    assert len(service.batches) == 1
    assert [asked.batch_id for asked in service.watches] == [BATCH_ID] * 3
    assert [asked.resume_token for asked in service.watches] == [
        f"{BATCH_ID}/{told}" for told in (2, 3, 4)
    ]
    assert {asked.stream.max_results_per_message for asked in service.watches} == {7}
    assert all(asked.HasField("max_inline_output_bytes") for asked in service.watches)


def test_rows_that_come_twice_are_told_once(client: Client, service: FakeService) -> None:
    service.tokens_are_too_old = True
    service.transitions = (types_pb2.JOB_STATUS_RUNNING,)
    service.cuts["StreamSimulateJobs"] = [4]
    reporting = types_pb2.StreamOptions(include_transitions=True)

    events = list(client.stream(configs(2), reporting=reporting))

    rows = [row for event in events for row in (event.result, *event.results.results)]
    seen = [(row.index, row.new_status) for row in rows if row.new_status]
    ended = types_pb2.JOB_STATUS_COMPLETED
    running = types_pb2.JOB_STATUS_RUNNING
    assert seen == [(0, running), (0, ended), (1, running), (1, ended)]
    assert told(events)[-1] == "statistics"


def test_a_group_is_told_without_what_is_known_of_it() -> None:
    reading = streams.BatchReading(
        batch_service_pb2.WatchBatchRequest(batch_id=BATCH_ID),
        retries.Backoff(retries.RetryPolicy()),
    )
    rows = [fake_rows.completed(n, types_pb2.JobConfig()) for n in range(3)]
    group = job_service_pb2.MultiJobResults
    first = streams.Event(results=group(results=rows[:2]), resume_token="first")
    both = streams.Event(results=group(results=rows[1:]), resume_token="both")
    both.event_time.seconds = 7

    assert reading.take(first) is first
    assert reading.take(first) is None
    news = reading.take(both)

    assert news is not None
    assert [row.index for row in news.results.results] == [2]
    assert (news.resume_token, news.event_time.seconds) == ("both", 7)
    rows[1].attempt = 2
    assert reading.take(streams.Event(result=rows[1])) is not None


def test_a_stream_that_brings_nothing_new_is_given_up(client: Client, service: FakeService) -> None:
    service.cuts["StreamSimulateJobs"] = [2]
    service.cuts["WatchBatch"] = [1] * 20  # `accepted` is no progress
    events = client.stream(configs(3))
    assert next(events).HasField("accepted")
    assert next(events).HasField("result")

    with pytest.raises(IncompleteStreamError, match=f"of batch {BATCH_ID} ended") as caught:
        next(events)

    assert len(service.watches) == ATTEMPTS - 1
    assert caught.value.batch_id == BATCH_ID
    assert caught.value.resume_token == f"{BATCH_ID}/1"
    assert isinstance(caught.value.__cause__, ServerUnavailableError)
    service.cuts.clear()
    rest = client.watch_batch(BATCH_ID, resume_token=caught.value.resume_token)
    assert told(rest) == ["accepted", "1", "2", "statistics"]


def test_progress_makes_the_next_failure_the_first(client: Client, service: FakeService) -> None:
    service.cuts["StreamSimulateJobs"] = [1]
    service.cuts["WatchBatch"] = [2] * 10

    pauses: list[tuple[CallError, float]] = []

    def on_pause(error: CallError, seconds: float) -> None:
        pauses.append((error, seconds))

    assert told(client.stream(configs(11), on_pause=on_pause))[-1] == "statistics"

    assert len(service.watches) == 11
    assert [error.code for error, _ in pauses] == [UNAVAILABLE] * 11
    assert all(0 < seconds <= FIRST_PAUSE_SECONDS for _, seconds in pauses)


def test_an_error_that_cannot_pass_by_is_told_at_once(client: Client, service: FakeService) -> None:
    service.cuts["StreamSimulateJobs"] = [1]
    service.refusals["WatchBatch"] = [grpc.StatusCode.NOT_FOUND]

    with pytest.raises(IncompleteStreamError, match="it is so") as caught:
        list(client.stream(configs(1)))

    assert isinstance(caught.value.__cause__, NotFoundError)
    assert len(service.asked) == 2


def test_a_batch_is_submitted_once_however_often_the_request_arrives(
    client: Client, service: FakeService
) -> None:
    options = types_pb2.BatchOptions(cache_policy=types_pb2.CACHE_POLICY_REFRESH)
    service.cuts["StreamSimulateJobs"] = [0, 0]
    service.refusals["SimulateJobs"] = [UNAVAILABLE]

    events = list(client.stream(configs(1), options=options))
    client.run(configs(1), options=options)

    assert told(events) == ["accepted", "0", "statistics"]
    assert events[0].accepted.duplicate_request
    assert service.asked["StreamSimulateJobs"] == 3
    assert service.asked["SimulateJobs"] == 2
    assert len(service.accepted) == 2
    names = [request.options.request_id for request in service.batches]
    assert names[0] == names[1] == names[2] != names[3]
    assert all(str(uuid.UUID(name)) == name for name in names)
    assert options.request_id == ""


def test_a_request_id_of_the_callers_own_is_kept(client: Client, service: FakeService) -> None:
    options = types_pb2.BatchOptions(request_id="8c3f6a52-0000-4000-8000-000000000001")

    first = client.run(configs(2), options=options)
    again = client.run_each(configs(2), options=options)

    assert [row.index for row in again] == [0, 1]
    assert again.batch_id == first.batch_id
    assert {request.options.request_id for request in service.batches} == {options.request_id}


def test_a_server_that_is_not_there_is_told_at_once(client: Client, service: FakeService) -> None:
    service.refusals["StreamSimulateJobs"] = [UNAVAILABLE] * 20
    service.refusals["WatchBatch"] = [UNAVAILABLE] * 20

    with pytest.raises(ServerUnavailableError):
        next(client.stream(configs(1)))
    with pytest.raises(ServerUnavailableError):
        next(client.watch_batch(BATCH_ID))

    assert set(service.asked.values()) == {GRPC_ATTEMPTS}


@pytest.mark.parametrize(
    "asked",
    [
        {"until": types_pb2.UNTIL_RESOLVED},
        {"timeout_seconds": 300.0},
        {"options": types_pb2.BatchOptions(validate_only=True)},
    ],
)
def test_where_the_wait_has_an_end_of_its_own_the_same_request_is_sent_again(
    client: Client, service: FakeService, asked: dict[str, object]
) -> None:
    service.cuts["StreamSimulateJobs"] = [2, 1]

    events = list(client.stream(configs(3), **asked))  # type: ignore[arg-type]  # as each of them is

    assert told(events) == ["accepted", "0", "1", "2", "statistics"]
    assert not service.watches
    assert len(service.accepted) <= 1
    first, *others = service.batches
    assert len(others) == 2
    for other in others:
        assert isinstance(other, job_service_pb2.StreamSimulateJobsRequest)
        assert (other.options, other.wait.until) == (first.options, first.wait.until)
        assert other.wait.timeout.ToNanoseconds() <= first.wait.timeout.ToNanoseconds()


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stream_is_not_gone_on_with_beyond_its_time() -> None:
    asked = job_service_pb2.StreamSimulateJobsRequest()
    asked.wait.timeout.FromSeconds(10)
    clock = Clock()
    policy = retries.RetryPolicy(first_pause_seconds=8, longest_pause_seconds=8)
    reading = streams.BatchReading(
        asked, retries.Backoff(policy, chance=lambda: 0.0), monotonic=clock
    )
    assert reading.request() is asked
    accepted = job_service_pb2.BatchAccepted(batch_id=BATCH_ID)
    reading.take(streams.Event(accepted=accepted))
    with pytest.raises(ServerUnavailableError) as caught:
        reading.ended()

    clock.now += 4
    assert reading.pause_seconds(caught.value) == 6.0
    again = reading.request()
    assert isinstance(again, job_service_pb2.StreamSimulateJobsRequest)
    assert again.wait.timeout.ToMilliseconds() == 6000
    clock.now += 6
    with pytest.raises(IncompleteStreamError):
        reading.pause_seconds(caught.value)


def test_a_running_batch_tells_where_to_go_on(client: Client, service: FakeService) -> None:
    batch = client.run_each(configs(3))
    assert batch.resume_token == ""
    assert next(batch).index == 0

    rest = client.watch_each(batch.batch_id, resume_token=batch.resume_token)

    assert [row.index for row in rest] == [1, 2]
    assert rest.statistics is not None
    assert rest.statistics.completed_jobs == 3
    assert [row.index for row in client.watch_each(batch.batch_id)] == [0, 1, 2]
    assert len(service.batches) == 1


def test_rows_of_one_message_have_one_place() -> None:
    rows = streams.Rows()
    results = [fake_rows.completed(n, types_pb2.JobConfig()) for n in range(2)]
    accepted = job_service_pb2.BatchAccepted(batch_id=BATCH_ID)
    rows.take(streams.Event(accepted=accepted, resume_token="begun"))

    rows.take(
        streams.Event(results=job_service_pb2.MultiJobResults(results=results), resume_token="both")
    )

    assert rows.resume_token == "begun"
    assert rows.next_row() == results[0]
    assert rows.resume_token == "begun"
    assert rows.next_row() == results[1]
    assert rows.resume_token == "both"
    assert rows.next_row() is None


def test_a_token_of_another_batch_is_refused(client: Client, service: FakeService) -> None:
    client.run(configs(1))

    with pytest.raises(Exception, match="of another batch"):
        list(client.watch_batch(BATCH_ID, resume_token=f"{fake_batches.batch_id(2)}/1"))
    assert len(service.watches) == 1
