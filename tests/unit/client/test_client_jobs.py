"""Single jobs: read, waited for, listed, cancelled."""

import pytest

from dshpc.client import Client, NotFoundError
from dshpc.v1 import job_service_pb2, types_pb2
from support.fake_service import FakeService

JOB = "a" * 64


def test_a_job_is_answered_at_once_or_waited_for(client: Client, service: FakeService) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, status=types_pb2.JOB_STATUS_RUNNING)
    service.changes[JOB] = [types_pb2.JOB_STATUS_FAILED]

    assert client.job(JOB).status == types_pb2.JOB_STATUS_RUNNING
    known = types_pb2.JOB_STATUS_RUNNING
    waited = client.job(JOB, wait_seconds=2.5, known_status=known)

    assert waited.status == types_pb2.JOB_STATUS_FAILED
    at_once, waiting = service.polls
    assert not at_once.HasField("wait")
    assert waiting.wait.ToMilliseconds() == 2500
    assert waiting.known_status == types_pb2.JOB_STATUS_RUNNING


def test_a_wait_may_be_longer_than_the_deadline_of_a_small_call(
    client: Client, service: FakeService
) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB)

    client.job(JOB, wait_seconds=1000)

    assert service.seconds_left["GetJob"] > 1000


def test_jobs_are_listed_by_status_and_method(client: Client, service: FakeService) -> None:
    for number in range(5):
        service.jobs[str(number)] = job_service_pb2.Job(
            job_id=str(number), method_name=["even", "odd"][number % 2]
        )

    assert [job.job_id for job in client.jobs()] == ["0", "1", "2", "3", "4"]
    assert [job.job_id for job in client.jobs(method_name="even", page_size=3)] == ["0", "2", "4"]
    assert not list(client.jobs(statuses=[types_pb2.JOB_STATUS_FAILED]))
    assert service.job_lists[-1].statuses == [types_pb2.JOB_STATUS_FAILED]


def test_a_job_is_cancelled_with_a_reason(client: Client, service: FakeService) -> None:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, status=types_pb2.JOB_STATUS_RUNNING)

    cancelled = client.cancel(JOB, reason="a mistake")

    assert cancelled.status == types_pb2.JOB_STATUS_CANCELLED
    assert cancelled.reason == "a mistake"
    with pytest.raises(NotFoundError):
        client.cancel("b" * 64)
