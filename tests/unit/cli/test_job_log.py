"""`dshpc job log`: bytes as they are, whole or the last lines."""

from collections.abc import Iterator
from typing import Any

import pytest

from dshpc import client
from dshpc.cli import logs
from dshpc.v1 import job_service_pb2
from support.dshpc_command import Command
from support.fake_service import FakeService

JOB_ID = "a" * 64
LINES = "".join(f"line {number}\n" for number in range(10))


@pytest.fixture
def logged(service: FakeService) -> FakeService:
    service.jobs[JOB_ID] = job_service_pb2.Job(job_id=JOB_ID, attempt=3)
    service.logs[JOB_ID] = LINES.encode()
    return service


def test_a_log_is_written_as_it_is(dshpc: Command, logged: FakeService) -> None:
    logged.logs[JOB_ID] = "caf\u00e9\r\n\x1b[31mno newline".encode()

    assert dshpc("job", "log", JOB_ID) == 0

    assert dshpc.out == "caf\u00e9\r\n\x1b[31mno newline"
    (request,) = logged.log_requests
    assert request.log == job_service_pb2.LOG_STDERR
    assert (request.attempt, request.tail_bytes, request.follow) == (0, 0, False)


def test_the_output_and_the_attempt_may_be_chosen(dshpc: Command, logged: FakeService) -> None:
    assert dshpc("job", "log", JOB_ID.upper(), "--stdout", "--attempt", "2", "-f") == 0

    (request,) = logged.log_requests
    assert (request.job_id, request.log) == (JOB_ID, job_service_pb2.LOG_STDOUT)
    assert (request.attempt, request.follow) == (2, True)
    assert dshpc.out == LINES


@pytest.mark.parametrize(
    ("content", "lines", "shown"),
    [
        (LINES, 3, "line 7\nline 8\nline 9\n"),
        (LINES, 10, LINES),
        (LINES, 99, LINES),
        (LINES, 0, ""),
        ("one\ntwo", 1, "two"),
        ("one\n\n", 1, "\n"),
        ("\n", 1, "\n"),
        ("", 5, ""),
    ],
)
@pytest.mark.parametrize("first_bytes", [2, 64 << 10])
def test_the_last_lines_are_shown(  # fixtures
    dshpc: Command,
    logged: FakeService,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    lines: int,
    shown: str,
    first_bytes: int,
) -> None:
    monkeypatch.setattr(logs, "_FIRST_TAIL_BYTES", first_bytes)
    logged.logs[JOB_ID] = content.encode()

    assert dshpc("job", "log", JOB_ID, "--tail", str(lines)) == 0

    assert dshpc.out == shown


def test_lines_that_are_too_long_are_cut_at_the_front(
    dshpc: Command, logged: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_FIRST_TAIL_BYTES", 8)
    monkeypatch.setattr(logs, "_MOST_TAIL_BYTES", 8)
    logged.logs[JOB_ID] = b"x" * 1000

    assert dshpc("job", "log", JOB_ID, "--tail", "1") == 0

    assert dshpc.out == "x" * 8
    assert len(logged.log_requests) == 1


class GrowingLog(client.Client):
    """A client whose log grows between one reading and the next."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:1")  # never called
        self.asked: list[dict[str, object]] = []
        self.parts = [b"one\ntw", b"o\nthree\n"]

    def log(self, job_id: str, **asked: Any) -> Iterator[job_service_pb2.ReadJobLogResponse]:  # noqa: ANN401  # as the client's own
        self.asked.append({"job_id": job_id, **asked})
        offset = 100 if len(self.parts) == 2 else 106
        yield job_service_pb2.ReadJobLogResponse(
            data=self.parts.pop(0), offset=offset, attempt=3, finished=not self.parts
        )


def test_a_log_is_followed_from_the_end_of_the_tail_in_the_same_attempt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = logs.Place(job_id=JOB_ID, log=job_service_pb2.LOG_STDOUT)
    with GrowingLog() as growing:
        logs.show(growing, place, tail_lines=1, follows=True)

    assert capsys.readouterr().out == "two\nthree\n"
    tail, follow = growing.asked
    assert "follow" not in tail
    assert follow == {
        "job_id": JOB_ID,
        "log": job_service_pb2.LOG_STDOUT,
        "attempt": 3,
        "offset": 106,
        "follow": True,
    }


def test_a_log_that_is_finished_is_not_asked_for_again(dshpc: Command, logged: FakeService) -> None:
    assert dshpc("job", "log", JOB_ID, "-n", "1", "--follow") == 0

    assert dshpc.out == "line 9\n"
    assert len(logged.log_requests) == 1
