"""`dshpc job cancel`: jobs by name."""

import grpc

from dshpc.v1 import job_service_pb2, types_pb2
from support.dshpc_command import Command
from support.fake_service import FakeService

FIRST, SECOND, THIRD = ("1" * 64, "2" * 64, "3" * 64)


def add(service: FakeService, *job_ids: str) -> None:
    for job_id in job_ids:
        service.jobs[job_id] = job_service_pb2.Job(
            job_id=job_id, status=types_pb2.JOB_STATUS_RUNNING
        )


def test_jobs_are_stopped_with_a_reason(dshpc: Command, service: FakeService) -> None:
    add(service, FIRST, SECOND)

    assert dshpc("job", "cancel", FIRST, SECOND, FIRST, "--reason", "not needed") == 0

    assert [(r.job_id, r.reason) for r in service.cancelled] == [
        (FIRST, "not needed"),
        (SECOND, "not needed"),
    ]
    assert [line.split() for line in dshpc.out.splitlines()[1:]] == [
        [FIRST, "CANCELLED", "not", "needed"],
        [SECOND, "CANCELLED", "not", "needed"],
    ]
    assert dshpc("job", "cancel", FIRST, "--output", "json") == 0
    assert [line["status"] for line in dshpc.lines()] == ["JOB_STATUS_CANCELLED"]


def test_one_that_is_not_known_does_not_keep_the_others_from_it(
    dshpc: Command, service: FakeService
) -> None:
    add(service, FIRST, THIRD)

    assert dshpc("job", "cancel", FIRST, SECOND, THIRD) == 1

    assert dshpc.err == f"dshpc: job '{SECOND}' not found\n"
    assert [line.split()[0] for line in dshpc.out.splitlines()[1:]] == [FIRST, THIRD]


def test_a_server_that_does_not_answer_ends_it_with_what_was_stopped(
    dshpc: Command, service: FakeService
) -> None:
    add(service, FIRST, SECOND, THIRD)
    service.refusals["CancelJob"] = [None, grpc.StatusCode.DEADLINE_EXCEEDED]

    assert dshpc("job", "cancel", FIRST, SECOND, THIRD) == 69

    assert [line.split()[0] for line in dshpc.out.splitlines()[1:]] == [FIRST]
    assert [request.job_id for request in service.cancelled] == [FIRST]


def test_nothing_to_stop_is_a_usage_error(dshpc: Command, service: FakeService) -> None:
    assert dshpc("job", "cancel") == 2
    assert "Missing argument 'JOB_ID'" in dshpc.err
    assert not service.asked
