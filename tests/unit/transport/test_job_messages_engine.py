"""What a job's messages tell of its engine: what was used, how it was packed, why it waits."""

import dataclasses

import pytest
from google.protobuf import message

from dshpc.v1 import types_pb2
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, Basis, JobStatus, Packing, Usage
from dshpc_server.engine.port import Waiting
from dshpc_server.store import records
from dshpc_server.transport import job_messages
from support import job_records

MESSAGES = job_messages.JobMessages(engine_name="local", max_retries=3)
USED = {"cpu_time", "queue_time", "peak_memory_bytes"}


def fields(of: message.Message) -> set[str]:
    """Which fields are set."""
    return {field.name for field, _ in of.ListFields()}


def with_newest(record: records.JobRecord, **changes: object) -> records.JobRecord:
    """The same job, but that this of its newest attempt is another."""
    newest = dataclasses.replace(record.newest, **changes)  # type: ignore[arg-type] # by name
    return dataclasses.replace(record, newest=newest, attempts=[*record.attempts[:-1], newest])


def test_what_the_newest_attempt_used_is_told_of_it_and_of_the_job() -> None:
    record = with_newest(
        job_records.record(status=JobStatus.COMPLETED, earlier=[JobStatus.FAILED]),
        usage=Usage(cpu_seconds=0.25, peak_memory_bytes=2**40, queue_seconds=90.5),
        packing=Packing(jobs=12, basis=Basis.DECLARED),
    )
    told = MESSAGES.whole(record)
    first, second = told.attempts
    for each in (told, second):
        assert (each.cpu_time.seconds, each.cpu_time.nanos) == (0, 250_000_000)
        assert (each.queue_time.seconds, each.queue_time.nanos) == (90, 500_000_000)
        assert each.peak_memory_bytes == 2**40
        assert each.packing.jobs == 12
        assert each.packing.basis == types_pb2.PACKING_BASIS_DECLARED
    assert fields(second) >= {*USED, "packing"}
    assert fields(first).isdisjoint({*USED, "packing"})


def test_what_nobody_saw_is_absent_and_nothing_used_is_told() -> None:
    record = job_records.record(status=JobStatus.COMPLETED)
    told = MESSAGES.whole(record)
    assert fields(told).isdisjoint({*USED, "packing"})
    none = Usage(cpu_seconds=0.0, peak_memory_bytes=0, queue_seconds=0.0)
    told = MESSAGES.whole(with_newest(record, usage=none))
    assert fields(told) >= USED
    assert fields(told.attempts[0]) >= USED
    assert "packing" not in fields(told)


@pytest.mark.parametrize(("engine_name", "slurm_job_id"), [("local", ""), ("slurm", "12_7")])
def test_the_engines_name_of_an_attempt_is_slurms_where_slurm_runs_it(
    engine_name: str, slurm_job_id: str
) -> None:
    messages = job_messages.JobMessages(engine_name=engine_name, max_retries=3)
    record = with_newest(
        job_records.record(status=JobStatus.RUNNING, earlier=[JobStatus.NODE_FAIL]),
        engine_job_id="12_7",
    )
    told = messages.whole(record)
    assert (told.engine, told.engine_job_id, told.slurm_job_id) == (
        engine_name,
        "12_7",
        slurm_job_id,
    )
    before = "4711" if slurm_job_id else ""
    assert [each.slurm_job_id for each in told.attempts] == [before, slurm_job_id]
    not_yet = messages.listed(job_records.record(status=JobStatus.CONFIGURING))
    assert not_yet.slurm_job_id == ""


class Knowing:
    """An engine that knows of each attempt that waits, and which it was asked for."""

    def __init__(self, why: str = "Priority", *, job_id: str = "", name: str = "slurm") -> None:
        self.known = Waiting(why=why, engine_job_id=job_id)
        self.asked: list[AttemptKey] = []
        self.messages = job_messages.JobMessages(
            engine_name=name, max_retries=3, waiting=self.waiting
        )

    def waiting(self, key: AttemptKey, status: JobStatus) -> Waiting:
        del status
        self.asked.append(key)
        return self.known


@pytest.mark.parametrize("status", sorted(job.IN_PROGRESS))
def test_only_what_has_not_started_says_why_it_does_not_run(status: JobStatus) -> None:
    engine = Knowing()
    record = job_records.record(status=status, earlier=[JobStatus.NODE_FAIL])
    waits = status in (JobStatus.PENDING, JobStatus.CONFIGURING)
    why = "Priority" if waits else ""
    assert engine.messages.listed(record).reason == why
    assert engine.asked == [record.newest.attempt.key] * waits
    told = engine.messages.whole(record)
    assert told.reason == why
    assert [each.reason for each in told.attempts] == ["before", why]
    assert engine.asked == [record.newest.attempt.key] * waits * 2


def test_what_has_a_reason_keeps_it() -> None:
    engine = Knowing()
    for status in job.TERMINAL:
        assert engine.messages.whole(job_records.record(status=status)).reason == ""
    assert engine.asked == []
    stopping = job_records.record(status=JobStatus.CONFIGURING, cancel_reason="too slow")
    assert engine.messages.whole(stopping).reason == "Stopping: too slow"
    record = job_records.record(earlier=[JobStatus.NODE_FAIL])
    attempt = dataclasses.replace(record.newest.attempt, chain=1)
    retry = engine.messages.whole(with_newest(record, attempt=attempt))
    assert retry.reason == "Retry 1 of 3 after NODE_FAIL"


def test_a_retry_that_was_taken_from_the_queue_says_why_it_does_not_run() -> None:
    record = job_records.record(status=JobStatus.CONFIGURING, earlier=[JobStatus.NODE_FAIL])
    attempt = dataclasses.replace(record.newest.attempt, chain=1)
    assert Knowing("Resources").messages.listed(with_newest(record, attempt=attempt)).reason == (
        "Resources"
    )


def test_an_engine_that_does_not_know_leaves_the_reason_empty() -> None:
    assert Knowing("").messages.whole(job_records.record()).reason == ""


@pytest.mark.parametrize("cancel_reason", [None, "too slow"])
@pytest.mark.parametrize(("engine_name", "slurm_job_id"), [("local", ""), ("slurm", "12_7")])
def test_what_waits_in_the_engines_queue_tells_its_name_there(
    engine_name: str, slurm_job_id: str, cancel_reason: str | None
) -> None:
    messages = Knowing(job_id="12_7", name=engine_name).messages
    record = job_records.record(
        status=JobStatus.CONFIGURING, earlier=[JobStatus.NODE_FAIL], cancel_reason=cancel_reason
    )
    listed, told = messages.listed(record), messages.whole(record)
    before, newest = told.attempts
    for each in (listed, told, newest):
        assert (each.engine_job_id, each.slurm_job_id) == ("12_7", slurm_job_id)
    assert before.engine_job_id == "4711"


def test_what_is_stored_counts_before_what_the_engine_says() -> None:
    messages = Knowing(job_id="12_7").messages
    running = job_records.record(status=JobStatus.RUNNING)
    assert messages.whole(running).slurm_job_id == "4711"
    told_before = with_newest(
        job_records.record(status=JobStatus.CONFIGURING), engine_job_id="11_0"
    )
    assert messages.whole(told_before).slurm_job_id == "11_0"
