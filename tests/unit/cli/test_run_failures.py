"""`dshpc run` when it cannot do what it was asked: one line, and the exit code that says why."""

import json
import pathlib
import socket

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from dshpc.cli import main
from support.dshpc_command import Command
from support.fake_service import BATCH_ID, FakeService

ESCAPE = "\x1b"


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE])
def test_a_stream_that_is_cut_off_goes_on_by_itself(
    dshpc: Command, service: FakeService, batch: pathlib.Path, code: grpc.StatusCode
) -> None:
    service.cut_code = code
    service.cuts["StreamSimulateJobs"] = [2]

    assert dshpc("run", batch, "--output", "json") == 0

    *rows, last = dshpc.lines()
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert last["statistics"]["completedJobs"] == 3
    assert len(service.batches) == 1
    assert [asked.resume_token for asked in service.watches] == [f"{BATCH_ID}/1"]


def test_a_stream_that_cannot_go_on_is_exit_code_75_and_keeps_what_came(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.cuts["StreamSimulateJobs"] = [3, 3]
    service.refusals["WatchBatch"] = [grpc.StatusCode.FAILED_PRECONDITION] * 2

    assert dshpc("run", batch, "--output", "json") == 75

    assert [line["index"] for line in dshpc.lines()] == [0, 1]
    last = dshpc.err.splitlines()[-1]
    assert last.startswith(
        f"dshpc: incomplete: 2 of 3 jobs reported; the stream of batch {BATCH_ID} ended without "
        "statistics: it is so. The jobs go on at the server: "
    )
    assert last.endswith(f"batch watch {BATCH_ID}' goes on with it")

    assert dshpc("run", batch) == 75
    assert "first" in dshpc.out
    assert "total_jobs" not in dshpc.out


def test_a_server_that_is_not_there_is_exit_code_69(
    batch: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as bound:  # bound, but nobody listens
        bound.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{bound.getsockname()[1]}"
        assert main.main(["--server", target, "run", str(batch)]) == 69

    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"dshpc: cannot reach the server at {target}: ")


def test_the_server_may_come_from_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DSHPC_SERVER", service.target)

    assert main.main(["server", "info", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "local"


def test_a_batch_that_the_server_refuses_is_exit_code_2_and_says_where(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field="jobs[0].timeout", description="is over the limit")
    bad_request.field_violations.add(field="jobs[1].timeout", description="is over the limit")
    status = status_pb2.Status()
    status.details.add().Pack(bad_request)
    service.failure = (
        grpc.StatusCode.INVALID_ARGUMENT,
        "invalid\nrequest",
        status.SerializeToString(),
    )
    path = tmp_path / "batch.yaml"
    path.write_text("jobs: [{method: m}]")

    assert dshpc("run", path) == 2
    assert dshpc.err == (
        "dshpc: invalid request: jobs[0].timeout: is over the limit (and 1 more)\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("batch.yaml", b"jobs: [{metod: m}]", ":1:9: jobs[0].metod: unknown key; did you mean"),
        ("batch.yaml", b"jobs: [\n", ":2:1: "),
        ("batch.json", b'{"jobs": [}', ":1:11: Expecting value"),
        ("batch.json", b'{"jobs":\n[7]}', ":2:2: jobs[0]: must be a mapping, not a number"),
        ("batch.yaml", b"\xff", ": is not UTF-8 text"),
        ("batch.yaml", b"- 1", ": must be a mapping, not a list"),
        ("batch.yaml", None, ": No such file or directory"),
    ],
)
def test_a_bad_batch_file_is_exit_code_2_and_nothing_is_asked(  # fixtures
    dshpc: Command,
    service: FakeService,
    tmp_path: pathlib.Path,
    name: str,
    content: bytes | None,
    problem: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    assert dshpc("run", path) == 2

    assert dshpc.out == ""
    (line,) = dshpc.err.splitlines()
    assert line.startswith(f"dshpc: {path}{problem}")
    assert service.batches == []


def test_bad_options_are_exit_code_2(dshpc: Command, batch: pathlib.Path) -> None:
    assert dshpc("run", batch, "--output", "xml") == 2
    assert dshpc("run", batch, "--no-such-option") == 2
    assert dshpc("run") == 2
    assert ESCAPE not in dshpc.err


def test_help_tells_the_exit_codes_and_needs_no_server(dshpc: Command) -> None:
    assert dshpc("run", "--help") == 0

    for code in ("0 ", "1 ", "2 ", "69 ", "75 ", "130 "):
        assert any(line.strip().startswith(code) for line in dshpc.out.splitlines()), code


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, 1, "it is so"),
        (grpc.StatusCode.NOT_FOUND, 1, "it is so"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 75, "it is so; try again in 3 s"),
        (grpc.StatusCode.ABORTED, 75, "it is so; try again in 3 s"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 69, "did not answer in time"),
        (grpc.StatusCode.UNIMPLEMENTED, 1, "the server does not know this call"),
    ],
)
def test_what_the_server_says_no_to_is_told_in_one_line_with_its_exit_code(
    dshpc: Command, service: FakeService, code: grpc.StatusCode, exit_code: int, said: str
) -> None:
    status = status_pb2.Status()
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 3
    if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED):
        status.details.add().Pack(retry)
    service.failure = (code, "it is so", status.SerializeToString())

    assert dshpc("methods", "show", "m") == exit_code

    (line,) = dshpc.err.splitlines()
    assert line.startswith("dshpc: ")
    assert said in line


@pytest.mark.parametrize(
    ("limit", "exit_code", "said"),
    [
        ("max_calls", 75, "it is so; try again in 3 s"),
        ("max_streams", 75, "it is so; try again in 3 s"),
        ("max_jobs_per_request", 2, "it is so"),
        ("max_dependencies_per_request", 2, "it is so"),
    ],
)
def test_nobody_is_told_to_ask_again_for_what_will_always_be_too_much(
    dshpc: Command, service: FakeService, limit: str, exit_code: int, said: str
) -> None:
    status = status_pb2.Status()
    quota = error_details_pb2.QuotaFailure()
    quota.violations.add(subject=limit, description="it is so")
    status.details.add().Pack(quota)
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 3
    status.details.add().Pack(retry)
    service.failure = (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "it is so",
        status.SerializeToString(),
    )

    assert dshpc("methods", "show", "m") == exit_code

    assert dshpc.err == f"dshpc: {said}\n"
