"""The calls about batches that exist: read, listed, cancelled, moved in the queue, retried."""

import uuid
from collections.abc import Callable

import grpc
import pytest

from dshpc.client import Client, NotFoundError, PreconditionError
from dshpc.v1 import batch_service_pb2, types_pb2
from support import fake_batches, fake_rows
from support.fake_service import BATCH_ID, FakeService

RUNNING = types_pb2.JOB_STATUS_RUNNING
CONFIG = types_pb2.JobConfig(method_name="m", config_id="row")


@pytest.fixture
def batch_id(service: FakeService) -> str:
    """A batch of a completed, a failed and a running row."""
    rows = [
        fake_rows.completed(0, CONFIG),
        fake_rows.failed(1, CONFIG),
        fake_rows.moving(2, CONFIG, RUNNING),
    ]
    return service.keep(rows, display_name="tables").batch_id


def test_a_batch_is_read(client: Client, service: FakeService, batch_id: str) -> None:
    batch = client.batch(batch_id)

    assert batch.display_name == "tables"
    assert batch.state == batch_service_pb2.BATCH_STATE_RUNNING
    assert batch.statistics.in_progress_jobs == 1
    (asked,) = service.batch_requests
    assert not asked.HasField("wait")
    with pytest.raises(NotFoundError):
        client.batch(fake_batches.batch_id(9))


def test_a_batch_is_waited_for(client: Client, service: FakeService, batch_id: str) -> None:
    service.coming[batch_id] = [[fake_rows.completed(0, CONFIG)]]

    batch = client.batch(batch_id, wait_seconds=1.5, if_changed_since="token")

    assert batch.state == batch_service_pb2.BATCH_STATE_FINISHED
    (asked,) = service.batch_requests
    assert asked.wait.ToMilliseconds() == 1500
    assert asked.if_changed_since == "token"
    assert service.seconds_left["GetBatch"] > 61  # the wait comes on top of what a call may take


def test_all_pages_of_batches_are_read_the_newest_first(
    client: Client, service: FakeService
) -> None:
    kept = [service.keep([fake_rows.completed(0, CONFIG)]).batch_id for _ in range(5)]

    assert [batch.batch_id for batch in client.batches()] == kept[::-1]


def test_a_batch_is_cancelled_whole_or_in_part(
    client: Client, service: FakeService, batch_id: str
) -> None:
    part = client.cancel_batch(batch_id, indexes=[1])
    whole = client.cancel_batch(batch_id, reason="not needed")

    assert (part.cancel_requested, part.already_terminal) == (0, 1)
    assert (whole.cancel_requested, whole.already_terminal) == (1, 2)
    assert whole.batch.reason == "not needed"
    assert [list(asked.indexes) for asked in service.batch_cancels] == [[1], []]


def test_a_batch_moves_in_the_queue(client: Client, batch_id: str) -> None:
    assert client.update_batch(batch_id, priority=-7).priority == -7
    assert client.batch(batch_id).priority == -7


def test_what_failed_is_retried_as_a_new_batch_and_once(
    client: Client, service: FakeService, batch_id: str
) -> None:
    service.refusals["RetryBatch"] = [grpc.StatusCode.UNAVAILABLE]

    batch = client.retry_batch(batch_id)

    assert batch.batch_id != batch_id
    assert batch.display_name == "tables"
    assert batch.statistics.total_jobs == 1
    own = str(uuid.UUID(int=7))
    assert client.retry_batch(batch_id, request_id=own) == client.retry_batch(
        batch_id, request_id=own
    )
    assert len(service.accepted) == 3
    assert service.seconds_left["RetryBatch"] > 300  # a large one takes its time
    sent = [asked.request_id for asked in service.batch_retries]
    assert sent[0] == str(uuid.UUID(sent[0]))
    assert sent[1:] == [own, own]
    with pytest.raises(PreconditionError):
        client.retry_batch(batch.batch_id)


def test_every_call_about_a_batch_outlives_a_moment_without_a_server(
    client: Client, service: FakeService, batch_id: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "GetBatch": lambda: client.batch(BATCH_ID),
        "ListBatches": lambda: list(client.batches()),
        "CancelBatch": lambda: client.cancel_batch(batch_id),
        "UpdateBatch": lambda: client.update_batch(batch_id, priority=1),
        "WatchBatch": lambda: list(client.watch_batch(batch_id)),
    }
    for rpc, call in calls.items():
        service.refusals[rpc] = [grpc.StatusCode.UNAVAILABLE] * 2
        call()
        assert service.asked[rpc] == 3, rpc
