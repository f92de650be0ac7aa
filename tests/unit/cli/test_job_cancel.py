"""`dshpc job cancel`: jobs by name or by batch."""

import grpc

from dshpc.v1 import job_service_pb2, types_pb2
from support import fake_rows
from support.dshpc_command import Command
from support.fake_service import BATCH_ID, FakeService

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


def test_a_batch_is_stopped_by_its_jobs_that_have_not_ended_waiting_ones_first(
    dshpc: Command, service: FakeService
) -> None:
    add(service, FIRST, SECOND, THIRD)
    config = types_pb2.JobConfig(method_name="m")
    states = [
        (FIRST, types_pb2.JOB_STATUS_RUNNING),
        (SECOND, types_pb2.JOB_STATUS_PENDING),
        (THIRD, types_pb2.JOB_STATUS_COMPLETED),
        (SECOND, types_pb2.JOB_STATUS_PENDING),
    ]
    for index, (job_id, status) in enumerate(states):
        row = fake_rows.moving(index, config, status)
        row.job_id = job_id
        service.rows.append(row)

    assert dshpc("job", "cancel", "--batch", BATCH_ID.upper()) == 0

    assert [request.job_id for request in service.cancelled] == [SECOND, FIRST]
    assert types_pb2.JOB_STATUS_BLOCKED in service.pages[0].statuses
    assert service.pages[0].batch_id == BATCH_ID


def test_nothing_to_stop_is_a_usage_error_and_an_ended_batch_is_none(
    dshpc: Command, service: FakeService
) -> None:
    assert dshpc("job", "cancel") == 2
    assert dshpc.err == "dshpc: nothing to stop: give JOB_ID... or --batch BATCH_ID\n"
    assert dshpc("job", "cancel", "--batch", "tables") == 2
    assert "'tables' is not a batch_id" in dshpc.err
    assert dshpc("job", "cancel", "--batch", BATCH_ID) == 0
    assert dshpc.err == f"every job of batch {BATCH_ID} has ended\n"
    assert not service.cancelled
