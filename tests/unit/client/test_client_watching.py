"""A watch tells every change until the job has ended, and outlives an outage."""

import grpc
import pytest

from dshpc.client import Client, ServerUnavailableError, statuses
from dshpc.v1 import job_service_pb2, types_pb2
from support.fake_service import FakeService

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
JOB = "a" * 64


def test_a_watch_tells_every_change_until_the_end_and_goes_on_over_an_outage(
    client: Client, service: FakeService
) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, status=types_pb2.JOB_STATUS_PENDING)
    service.changes[JOB] = [
        types_pb2.JOB_STATUS_PENDING,  # a poll that ran out
        types_pb2.JOB_STATUS_RUNNING,
        types_pb2.JOB_STATUS_COMPLETED,
    ]
    service.refusals["GetJob"] = [None, None, *[UNAVAILABLE] * 9]

    seen = [job.status for job in client.watch(JOB)]

    assert seen == [
        types_pb2.JOB_STATUS_PENDING,
        types_pb2.JOB_STATUS_RUNNING,
        types_pb2.JOB_STATUS_COMPLETED,
    ]
    assert [(poll.HasField("wait"), poll.known_status) for poll in service.polls] == [
        (False, types_pb2.JOB_STATUS_UNSPECIFIED),
        (True, types_pb2.JOB_STATUS_PENDING),
        (True, types_pb2.JOB_STATUS_PENDING),
        (True, types_pb2.JOB_STATUS_RUNNING),
    ]


def test_a_watch_tells_a_new_attempt_with_the_same_status(
    client: Client, service: FakeService
) -> None:
    running = types_pb2.JOB_STATUS_RUNNING
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, status=running, attempt=1)
    watch = client.watch(JOB)
    assert next(watch).attempt == 1
    service.jobs[JOB].attempt = 2

    assert next(watch).attempt == 2


def test_a_watch_of_a_server_that_is_not_there_fails_at_once(
    client: Client, service: FakeService
) -> None:
    service.refusals["GetJob"] = [UNAVAILABLE] * 10

    with pytest.raises(ServerUnavailableError):
        next(client.watch(JOB))

    assert service.asked["GetJob"] == 4  # by gRPC itself


@pytest.mark.parametrize("status", sorted(statuses.ENDED))
def test_a_watch_of_a_job_that_has_ended_is_one_answer(
    client: Client, service: FakeService, status: types_pb2.JobStatus.ValueType
) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, status=status)

    assert [job.status for job in client.watch(JOB)] == [status]


def test_every_status_is_in_progress_or_an_end() -> None:
    known = set(types_pb2.JobStatus.values()) - {types_pb2.JOB_STATUS_UNSPECIFIED}
    assert known == statuses.IN_PROGRESS | statuses.ENDED
    assert not statuses.IN_PROGRESS & statuses.ENDED
