"""`dshpc job list|show|watch`."""

import pytest
from google.protobuf import struct_pb2, timestamp_pb2
from google.rpc import status_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from support.dshpc_command import Command
from support.fake_service import FakeService

JOB_ID = "a" * 64
RUNNING = types_pb2.JOB_STATUS_RUNNING
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
FAILED = types_pb2.JOB_STATUS_FAILED


def job(digit: str = "a", status: types_pb2.JobStatus.ValueType = FAILED) -> job_service_pb2.Job:
    parameters = struct_pb2.Struct()
    parameters.update({"bins": 5})
    return job_service_pb2.Job(
        job_id=digit * 64,
        method_name="column_stats",
        inputs={"input": "b" * 64},
        parameters=parameters,
        status=status,
        attempt=2,
        create_time=timestamp_pb2.Timestamp(seconds=0, nanos=5),
    )


def add(service: FakeService, *jobs: job_service_pb2.Job) -> None:
    service.jobs |= {job.job_id: job for job in jobs}


def test_jobs_are_listed_with_ids_that_can_be_copied(dshpc: Command, service: FakeService) -> None:
    add(service, job("a"), job("c", COMPLETED), job("d", RUNNING))

    assert dshpc("job", "list") == 0
    heading, first, *others = dshpc.out.splitlines()
    assert heading.split()[:3] == ["job_id", "status", "method"]
    assert first.split() == ["a" * 64, "FAILED", "column_stats", "2", "1970-01-01T00:00:00Z"]
    assert [line.split()[:2] for line in others] == [["c" * 64, "COMPLETED"], ["d" * 64, "RUNNING"]]

    assert dshpc("job", "list", "--output", "json") == 0
    assert [line["jobId"] for line in dshpc.lines()] == ["a" * 64, "c" * 64, "d" * 64]
    assert dshpc("job", "list", "--quiet") == 0
    assert dshpc.out.split() == ["a" * 64, "c" * 64, "d" * 64]


@pytest.mark.parametrize("columns", ["30", "64", "100"])
def test_a_narrow_list_has_the_whole_id_on_a_line_of_its_own(
    dshpc: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    add(service, job("a"), job("c", COMPLETED))

    assert dshpc("job", "list") == 0

    first, below, second, below_second = dshpc.out.splitlines()
    assert (first, second) == ("a" * 64, "c" * 64)
    assert below.startswith("  FAILED  column_stats")
    assert below_second.startswith("  COMPLETED")
    assert len(below) <= int(columns)


def test_a_list_is_filtered_by_status_and_method(dshpc: Command, service: FakeService) -> None:
    other = job("d", RUNNING)
    other.method_name = "other"
    add(service, job("a"), job("c", RUNNING), other)

    def listed(*options: str) -> list[str]:
        assert dshpc("job", "list", "-q", *options) == 0
        return [line[0] for line in dshpc.out.splitlines()]

    assert listed("--status", "failed") == ["a"]
    assert listed("--status", "RUNNING,JOB_STATUS_FAILED") == ["a", "c", "d"]
    assert listed("-s", "in-progress", "--method", "other") == ["d"]
    assert types_pb2.JOB_STATUS_PENDING in service.job_lists[-1].statuses
    assert listed("-s", "timeout") == []
    assert dshpc("job", "list", "-s", "timeout") == 0
    assert (dshpc.out, dshpc.err) == ("", "no such jobs\n")


def test_an_unknown_status_is_a_usage_error_with_a_suggestion(dshpc: Command) -> None:
    assert dshpc("job", "list", "--status", "runing") == 2
    assert dshpc.err == "dshpc: 'runing' is not a status; did you mean RUNNING?\n"
    assert dshpc("job", "list", "--status", "") == 2
    assert "known: PENDING, CONFIGURING" in dshpc.err


def test_a_list_has_a_limit_and_says_when_there_is_more(
    dshpc: Command, service: FakeService
) -> None:
    add(service, *(job(digit) for digit in "abcde"))

    assert dshpc("job", "list", "--limit", "3", "-o", "json") == 0
    assert len(dshpc.lines()) == 3
    assert dshpc.err == "the newest 3 jobs; --limit shows more\n"
    assert service.job_lists[0].page_size == 4
    assert dshpc("job", "list", "--limit", "5") == 0
    assert len(dshpc.out.splitlines()) == 6
    assert dshpc.err == ""
    assert dshpc("job", "list", "--limit", "0") == 2


def test_what_a_job_used_and_how_it_was_packed_is_shown(
    dshpc: Command, service: FakeService
) -> None:
    shown = job()
    shown.engine, shown.engine_job_id, shown.slurm_job_id, shown.node = (
        "slurm",
        "12_7",
        "12_7",
        "n1",
    )
    shown.queue_time.seconds = 90
    shown.cpu_time.nanos = 250_000_000
    shown.peak_memory_bytes = 3 * 1024 * 1024
    shown.packing.jobs = 40
    for basis, why in (
        (types_pb2.PACKING_BASIS_DECLARED, ", short as its method declares"),
        (types_pb2.PACKING_BASIS_OBSERVED, ", short as earlier runs were"),
        (types_pb2.PACKING_BASIS_UNSPECIFIED, ""),
    ):
        shown.packing.basis = basis
        add(service, shown)

        assert dshpc("job", "show", JOB_ID) == 0
        pairs = dict(line.split(maxsplit=1) for line in dshpc.out.splitlines())
        assert pairs["engine"] == "slurm 12_7 n1"
        assert (pairs["queue_time"], pairs["cpu_time"]) == ("1 min 30 s", "0.25 s")
        assert pairs["peak_memory"] == "3.0 MiB"
        assert pairs["packed"] == f"40 jobs in one task{why}"


def test_what_nobody_saw_of_a_job_is_not_shown(dshpc: Command, service: FakeService) -> None:
    shown = job()
    shown.cpu_time.SetInParent()
    shown.peak_memory_bytes = 0
    add(service, shown)

    assert dshpc("job", "show", JOB_ID) == 0
    pairs = dict(line.split(maxsplit=1) for line in dshpc.out.splitlines())
    assert (pairs["cpu_time"], pairs["peak_memory"]) == ("0.00 s", "0 B")
    assert not {"queue_time", "packed"} & pairs.keys()


def test_a_job_is_shown_with_its_attempts(dshpc: Command, service: FakeService) -> None:
    shown = job()
    shown.exit_code = 3
    shown.error.CopyFrom(status_pb2.Status(code=2, message="first line\nsecond \x1b[31mline"))
    first = shown.attempts.add(attempt=1, status=types_pb2.JOB_STATUS_TIMEOUT, signal=9)
    first.start_time.seconds, first.end_time.seconds = 10, 75
    shown.attempts.add(attempt=2, status=FAILED, exit_code=3, node="here", reason="so it is")
    add(service, shown)

    assert dshpc("job", "show", JOB_ID) == 0
    pairs = dict(line.split(maxsplit=1) for line in dshpc.out.splitlines() if line[:1].isalpha())
    assert pairs["status"] == "FAILED"
    assert pairs["exit_code"] == "3"
    assert pairs["inputs.input"] == "b" * 64
    assert pairs["create_time"] == "1970-01-01T00:00:00Z"
    assert "second  [31mline" in dshpc.out
    assert "start_time" not in dshpc.out
    heading, one, two = (line.split() for line in dshpc.out.splitlines()[-3:])
    assert heading == ["attempt", "status", "exit", "created", "time", "node", "reason"]
    assert one == ["1", "TIMEOUT", "signal", "9", "1", "min", "05", "s"]
    assert two == ["2", "FAILED", "exit", "code", "3", "here", "so", "it", "is"]

    assert dshpc("job", "show", JOB_ID, "--output", "json") == 0
    (line,) = dshpc.lines()
    assert line["status"] == "JOB_STATUS_FAILED"
    assert [attempt["attempt"] for attempt in line["attempts"]] == [1, 2]


@pytest.mark.parametrize(("end", "code"), [(COMPLETED, 0), (FAILED, 1)])
def test_a_job_may_be_waited_for_and_the_exit_code_says_how_it_ended(
    dshpc: Command, service: FakeService, end: types_pb2.JobStatus.ValueType, code: int
) -> None:
    add(service, job(status=types_pb2.JOB_STATUS_PENDING))
    service.changes[JOB_ID] = [RUNNING, end]

    assert dshpc("job", "show", JOB_ID, "--wait", "-o", "json") == code

    (line,) = dshpc.lines()
    assert line["status"] == types_pb2.JobStatus.Name(end)


def test_a_watched_job_tells_each_change(dshpc: Command, service: FakeService) -> None:
    add(service, job(status=types_pb2.JOB_STATUS_PENDING))
    service.changes[JOB_ID] = [RUNNING, types_pb2.JOB_STATUS_CANCELLED]

    assert dshpc("job", "watch", JOB_ID) == 1
    assert dshpc.out.split() == ["PENDING", "RUNNING", "CANCELLED"]

    add(service, job(status=COMPLETED))
    assert dshpc("job", "watch", JOB_ID, "--output", "json") == 0
    assert [line["status"] for line in dshpc.lines()] == ["JOB_STATUS_COMPLETED"]


def test_an_unknown_job_is_told_in_one_line(dshpc: Command) -> None:
    for command in ("show", "watch", "log", "cancel"):
        assert dshpc("job", command, JOB_ID) == 1
        assert dshpc.err == f"dshpc: job '{JOB_ID}' not found\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc123", "is a part of a job_id, and all 64 digits are needed"),
        ("0195b1c0-0000-7000-8000-000000000001", "is a batch_id, not a job_id"),
        ("my job", "is not a job_id, which has 64 hexadecimal digits"),
        ("a" * 65, "is not a job_id, which has 64 hexadecimal digits"),
    ],
)
def test_what_is_no_job_id_is_refused_before_anything_is_asked(
    dshpc: Command, service: FakeService, text: str, problem: str
) -> None:
    add(service, job())
    for command in (["show", text], ["watch", text], ["log", text], ["cancel", JOB_ID, text]):
        assert dshpc("job", *command) == 2
        assert dshpc.err == f"dshpc: '{text}' {problem}: 'dshpc job list' shows them\n"

    assert not service.asked
