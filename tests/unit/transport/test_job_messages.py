"""Jobs as messages: everything that is stored of them, and nothing that is not asked for."""

import dataclasses

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server.domain import job
from dshpc_server.domain.job import JobStatus
from dshpc_server.transport import job_messages, moments, words
from support import batches_values as values
from support import job_records, store_values

MESSAGES = job_messages.JobMessages(engine_name="local", max_retries=3)


def test_a_completed_job_is_told_with_its_output_and_its_attempts() -> None:
    record = job_records.record(
        status=JobStatus.COMPLETED,
        earlier=[JobStatus.FAILED],
        parameters_json='{"bins":3,"name":"x"}',
    )
    told = MESSAGES.whole(record)
    assert told.job_id == record.spec.job_id
    assert (told.method_name, told.function_hash) == ("count", store_values.sha("function"))
    assert dict(told.inputs) == dict(record.spec.inputs)
    assert dict(told.parameters) == {"bins": 3, "name": "x"}
    assert (told.status, told.attempt) == (types_pb2.JOB_STATUS_COMPLETED, 2)
    assert (told.engine, told.engine_job_id, told.node) == ("local", "4711", "here")
    assert (told.HasField("exit_code"), told.exit_code) == (True, 0)
    assert not told.HasField("signal")
    assert told.output == "done\n"
    assert told.output_hash == store_values.sha("done\n")
    assert told.output_size_bytes == 5
    assert not told.HasField("error")
    assert told.create_time == moments.timestamp(store_values.NOON)
    assert told.start_time == moments.timestamp(values.STARTED_AT)
    assert told.end_time == moments.timestamp(values.ENDED_AT)
    assert told.reason == ""
    first, second = told.attempts
    assert (first.attempt, first.status) == (1, types_pb2.JOB_STATUS_FAILED)
    assert (first.reason, first.exit_code) == ("before", 1)
    assert (second.attempt, second.output_hash) == (2, told.output_hash)
    assert second.end_time == told.end_time


def test_a_listed_job_is_the_same_without_output_and_attempts() -> None:
    for status in JobStatus:
        record = job_records.record(status=status, reason="why")
        whole = MESSAGES.whole(record)
        whole.ClearField("output")
        whole.ClearField("attempts")
        assert MESSAGES.listed(record) == whole


@pytest.mark.parametrize("status", sorted(job.TERMINAL - {JobStatus.COMPLETED}))
def test_what_did_not_complete_is_told_with_its_error_and_reason(status: JobStatus) -> None:
    told = MESSAGES.whole(job_records.record(status=status, reason="no luck"))
    assert told.reason == "no luck"
    assert told.error.message == "no luck"
    assert told.error.details
    assert not told.HasField("output")


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS))
def test_what_has_not_ended_has_no_end(status: JobStatus) -> None:
    told = MESSAGES.whole(job_records.record(status=status))
    assert told.status == words.STATUS_VALUE[status]
    assert not told.HasField("end_time")
    assert not told.HasField("error")
    assert told.reason == ""


@pytest.mark.parametrize(
    ("cancel_reason", "told"), [("", "Stopping"), ("too slow", "Stopping: too slow")]
)
def test_what_was_asked_to_stop_says_so_until_it_has_ended(cancel_reason: str, told: str) -> None:
    running = job_records.record(status=JobStatus.RUNNING, cancel_reason=cancel_reason)
    assert MESSAGES.whole(running).reason == told
    assert MESSAGES.whole(running).attempts[-1].reason == told
    ended = job_records.record(
        status=JobStatus.CANCELLED, cancel_reason=cancel_reason, reason="Cancelled"
    )
    assert MESSAGES.whole(ended).reason == "Cancelled"
    in_time = job_records.record(status=JobStatus.COMPLETED, cancel_reason=cancel_reason)
    assert MESSAGES.whole(in_time).reason == ""


def retrying(*, due: bool = True, max_retries: int = 3) -> job_service_pb2.Job:
    """A job that waits for its second retry."""
    earlier = [JobStatus.FAILED, JobStatus.NODE_FAIL, JobStatus.PREEMPTED]
    record = job_records.record(earlier=earlier)
    newest = dataclasses.replace(
        record.newest,
        attempt=dataclasses.replace(record.newest.attempt, chain=2),
        due_at=store_values.later(1.5) if due else None,
    )
    record = dataclasses.replace(record, newest=newest, attempts=[*record.attempts[:-1], newest])
    messages = job_messages.JobMessages(engine_name="local", max_retries=max_retries)
    return messages.whole(record)


def test_what_waits_for_its_retry_says_which_and_why_and_when() -> None:
    told = retrying()
    moment = moments.text(store_values.later(1.5))
    assert moment == "2024-05-17T12:00:01.623Z"
    assert told.reason == f"Retry 2 of 3 after PREEMPTED, not before {moment}"
    assert [each.reason for each in told.attempts] == ["before"] * 3 + [told.reason]
    assert retrying(due=False).reason == "Retry 2 of 3 after PREEMPTED"
    # The setting may have been larger when that was decided.
    assert retrying(due=False, max_retries=1).reason == "Retry 2 of 2 after PREEMPTED"


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS - {JobStatus.PENDING}))
def test_a_retry_that_was_taken_from_the_queue_has_nothing_to_explain(status: JobStatus) -> None:
    record = job_records.record(status=status, earlier=[JobStatus.NODE_FAIL])
    attempt = dataclasses.replace(record.newest.attempt, chain=1)
    newest = dataclasses.replace(record.newest, attempt=attempt)
    assert MESSAGES.listed(dataclasses.replace(record, newest=newest)).reason == ""


def test_an_output_that_is_not_in_the_result_is_told_by_its_hash() -> None:
    record = job_records.record(status=JobStatus.COMPLETED)
    assert record.newest.ending is not None
    result = types_pb2.MultiJobResult.FromString(record.newest.ending.result)
    result.ClearField("output")
    ending = dataclasses.replace(
        record.newest.ending, output_is_inline=False, result=result.SerializeToString()
    )
    record = dataclasses.replace(record, newest=dataclasses.replace(record.newest, ending=ending))
    told = MESSAGES.whole(record)
    assert not told.HasField("output")
    assert told.output_hash == store_values.sha("done\n")


def test_a_job_that_was_run_without_end_still_fits_in_an_answer() -> None:
    record = job_records.record(earlier=[JobStatus.CANCELLED] * 1500)
    told = MESSAGES.whole(record)
    assert [each.attempt for each in told.attempts] == list(range(502, 1502))
    assert told.ByteSize() < 1 << 20


def test_encoded_jobs_and_a_token_make_a_page() -> None:
    jobs = [MESSAGES.listed(job_records.record(name)) for name in "ab"]
    page = job_messages.list_response([each.SerializeToString() for each in jobs], "on")
    assert job_service_pb2.ListJobsResponse.FromString(page) == job_service_pb2.ListJobsResponse(
        jobs=jobs, next_page_token="on"
    )
    assert job_messages.list_response([], "") == b""
