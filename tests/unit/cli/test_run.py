"""`dshpc run` inside the test: results, exit codes, and what goes where."""

import json
import pathlib

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from support import fake_rows
from support.dshpc_command import Command
from support.fake_rows import sha256
from support.fake_service import BATCH_ID, FakeService

ESCAPE = "\x1b"
REQUEST_ID = "8c3f6a52-0000-4000-8000-00000000abcd"


def mixed(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """Row 1 fails, row 2 is rejected."""
    answers = {1: fake_rows.failed, 2: fake_rows.rejected}
    return answers.get(index, fake_rows.completed)(index, config)


def test_all_completed_is_exit_code_0_with_a_table(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    assert dshpc("run", batch) == 0

    lines = dshpc.out.splitlines()
    assert lines[0].split() == ["#", "job", "status", "outcome", "time", "output"]
    assert lines[1].split() == ["0", "first", "COMPLETED", "found", "completed", "output", "0"]
    assert any(line.split() == ["total_jobs", "3"] for line in lines)
    assert lines[-1].startswith("3 jobs: 3 completed (3 found completed) in ")
    assert dshpc.err.splitlines() == ["uploaded 2 files (4 B)", f"batch {BATCH_ID}: 3 jobs"]
    assert ESCAPE not in dshpc.out + dshpc.err
    (request,) = service.batches
    assert request.options.display_name == "three jobs"
    assert [(c.config_id, c.file_hash) for c in request.jobs] == [
        ("first", sha256(b"a\n")),
        ("column_stats/a/1", sha256(b"a\n")),
        ("column_stats/b/1", sha256(b"b\n")),
    ]
    assert set(service.stored) == {sha256(b"a\n"), sha256(b"b\n")}


def test_a_narrow_table_has_a_row_a_line_with_whole_statuses(
    dshpc: Command, batch: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    assert dshpc("run", batch) == 0

    heading, *rows = dshpc.out.splitlines()[:4]
    assert heading.split()[:3] == ["#", "job", "status"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert all("COMPLETED" in row and len(row) <= 40 for row in rows)


def test_what_failed_comes_first_and_is_exit_code_1(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = mixed

    assert dshpc("run", batch) == 1

    rows = [line.split() for line in dshpc.out.splitlines()[1:4]]
    assert [row[:3] for row in rows] == [
        ["1", "column_stats/a/1", "FAILED"],
        ["2", "column_stats/b/1", "REJECTED"],
        ["0", "first", "COMPLETED"],
    ]
    assert "exit code 3: no such column: age" in dshpc.out
    assert "Method 'column_stats' not found" in dshpc.out
    assert "3 jobs: 1 completed, 1 failed, 1 rejected (1 found completed, 1 sub" in dshpc.out


def test_json_is_a_line_a_result_and_then_the_statistics(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = mixed

    assert dshpc("run", batch, "--output", "json") == 1

    first, second, third, last = dshpc.lines()
    assert first["index"] == 0
    assert first["newStatus"] == "JOB_STATUS_COMPLETED"
    assert first["output"] == "output 0"
    assert first["outputSizeBytes"] == "8"
    assert second["error"]["message"].startswith("starting")
    assert third["outcome"] == "OUTCOME_REJECTED"
    assert last["statistics"]["totalJobs"] == 3
    assert last["statistics"]["cancelledJobs"] == 0
    assert last["statistics"]["final"] is True
    assert last["batchId"] == BATCH_ID


def test_an_output_cannot_write_escape_codes(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = lambda index, config: fake_rows.completed(
        index, config, output=f"{ESCAPE}[31m[bold]red[/]\r\n{ESCAPE}]0;title\x07"
    )

    assert dshpc("run", batch) == 0

    assert ESCAPE not in dshpc.out
    assert "[31m[bold]red[/]" in dshpc.out


def test_transitions_are_shown_when_asked_for(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.transitions = (types_pb2.JOB_STATUS_PENDING, types_pb2.JOB_STATUS_RUNNING)

    assert dshpc("run", batch, "--transitions") == 0
    assert "first PENDING\nfirst RUNNING\n" in dshpc.err

    assert dshpc("run", batch, "--transitions", "--output", "json") == 0
    statuses = [line["newStatus"] for line in dshpc.lines() if line.get("configId") == "first"]
    assert statuses == [f"JOB_STATUS_{word}" for word in ("PENDING", "RUNNING", "COMPLETED")]

    assert dshpc("run", batch, "--output", "json") == 0
    assert len(dshpc.lines()) == 4


def test_quiet_leaves_the_closing_line(dshpc: Command, batch: pathlib.Path) -> None:
    assert dshpc("run", batch, "--quiet") == 0

    (line,) = dshpc.out.splitlines()
    assert line.startswith("3 jobs: 3 completed")
    assert dshpc.err == ""


def test_forced_progress_off_a_terminal_is_plain_lines(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.transitions = (types_pb2.JOB_STATUS_RUNNING,)

    assert dshpc("run", batch, "--progress") == 0

    assert "0/3 jobs: 0 completed, 1 running, 0 failed" in dshpc.err
    assert "3/3 jobs: 3 completed, 0 failed" in dshpc.err
    assert ESCAPE not in dshpc.err


def test_a_long_table_is_cut_and_says_so(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.answer = lambda index, config: (
        fake_rows.failed(index, config) if index == 59 else fake_rows.completed(index, config)
    )
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"jobs": [{"method": "m"}] * 60}))

    assert dshpc("run", path) == 1
    assert "… and 10 more rows, all completed; --all shows them" in dshpc.out
    assert dshpc.out.splitlines()[1].split()[0] == "59"

    assert dshpc("run", path, "--all") == 1
    assert "more row" not in dshpc.out
    assert sum("COMPLETED" in line for line in dshpc.out.splitlines()) == 59


def test_no_wait_answers_at_once_with_all_rows(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = lambda index, config: fake_rows.moving(
        index, config, types_pb2.JOB_STATUS_PENDING
    )
    service.inline_rows = 1

    assert dshpc("run", batch, "--no-wait", "--output", "json") == 1

    assert [line.get("index") for line in dshpc.lines()] == [0, 1, 2, None]
    assert dshpc.lines()[-1]["statistics"]["inProgressJobs"] == 3
    (request,) = service.batches
    assert isinstance(request, job_service_pb2.SimulateJobsRequest)
    assert request.wait.until == types_pb2.UNTIL_RESOLVED


def test_outputs_are_downloaded_under_safe_names(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    binary = b"\x00\xff"
    service.stored[sha256(binary)] = binary

    def answer(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
        row = fake_rows.completed(index, config)
        row.config_id = "../../etc/passwd"  # a server's word is not a path
        if index == 1:
            row.ClearField("output")
            row.output_hash = sha256(binary)
        return fake_rows.failed(index, config) if index == 5 else row

    service.answer = answer
    ids = ["plain", "../up/é", "..", None, "PLAIN", "failed", "a/b", "a_b"]
    jobs = [{"method": "m", "config_id": name} for name in ids]
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"jobs": jobs}))

    assert dshpc("run", path, "--download", tmp_path / "new" / "outputs") == 1

    folder = tmp_path / "new" / "outputs"
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert found == {
        "plain.out": b"output 0",
        "_._up__.out": binary,
        "_..out": b"output 2",
        "3.out": b"output 3",
        "PLAIN-4.out": b"output 4",
        "a_b.out": b"output 6",
        "a_b-7.out": b"output 7",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["batch.json", "new"]
    assert f"7 outputs in {folder}" in dshpc.err


def test_an_output_that_cannot_be_fetched_does_not_hide_the_results(
    dshpc: Command, service: FakeService, batch: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def answer(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
        row = fake_rows.completed(index, config)
        row.ClearField("output")
        return row

    service.answer = answer

    assert dshpc("run", batch, "--download", tmp_path / "outputs") == 1

    assert "3 jobs: 3 completed" in dshpc.out
    assert dshpc.err.splitlines()[-1].startswith("dshpc: file '")
    assert not list((tmp_path / "outputs").iterdir())


def test_options_of_the_batch_come_from_the_file_and_from_the_command_line(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(
        "priority: 5\n"
        "options: {maxFailures: 2, cancel_on_disconnect: true}\n"
        f"request_id: {REQUEST_ID.upper()}\n"
        "jobs: [{method: m}, {method: m, priority: -3}]\n"
    )

    assert dshpc("run", path) == 0
    assert dshpc("run", path, "--priority", "7", "--max-failures", "0", "--no-wait") == 0

    first, second = (request.options for request in service.batches)
    assert (first.priority, first.max_failures) == (5, 2)
    assert first.cancel_on_disconnect
    assert first.request_id == second.request_id == REQUEST_ID
    assert (second.priority, second.max_failures) == (7, 0)
    jobs = service.batches[0].jobs
    assert [config.priority for config in jobs] == [0, -3]
    assert not jobs[0].HasField("priority")


def test_the_same_request_again_follows_the_same_batch(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    for said in ("", ", submitted before"):
        assert dshpc("run", batch, "--request-id", REQUEST_ID) == 0
        assert dshpc.err.splitlines()[-1] == f"batch {BATCH_ID}: 3 jobs{said}"

    assert dshpc("run", batch, "--cancel-on-disconnect") == 0
    assert service.batches[-1].options.cancel_on_disconnect
    assert service.batches[-1].options.request_id not in ("", REQUEST_ID)
    assert len(service.accepted) == 2
    assert dshpc("run", batch, "--request-id", "mine") == 2
    assert dshpc("run", batch, "--priority", "101") == 2
    assert dshpc("run", batch, "--max-failures", "-1") == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("priority: 101", "1:1: priority: must be a whole number from -100 to 100"),
        ("max_failures: -1", "1:1: max_failures: must be a whole number from 0 to"),
        ("request_id: mine", "1:1: request_id: 'mine' is not a UUID"),
        ("cancel_on_disconnect: 1", "1:1: cancel_on_disconnect: must be true or false"),
        ("options: {priority: x}", "1:11: options.priority: must be a whole number"),
    ],
)
def test_a_wrong_option_in_the_file_is_named_with_its_line(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path, line: str, problem: str
) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(f"{line}\njobs: [{{method: m}}]\n")

    assert dshpc("run", path) == 2

    assert dshpc.err.startswith(f"dshpc: {path}:{problem}")
    assert not service.asked


def test_a_sweep_has_a_row_and_a_file_for_each_of_its_values(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    path = tmp_path / "batch.yaml"
    path.write_text(
        "jobs:\n"
        "  - {config_id: s, method: m, sweep: {axes: {file: '*.csv', x: [1, 2]}}}\n"
        "  - {config_id: s.1, method: m}\n"
    )

    assert dshpc("run", path) == 0
    assert [line.split()[1] for line in dshpc.out.splitlines()[1:6]] == [
        *("s[0]", "s[1]", "s[2]", "s[3]", "s.1"),
    ]

    assert dshpc("run", path, "--output", "json", "--download", tmp_path / "out") == 0

    *rows, last = dshpc.lines()
    assert [(row["index"], row.get("sweepIndex")) for row in rows] == [
        *((index, index) for index in range(4)),
        (4, None),
    ]
    assert last["statistics"]["totalJobs"] == 5
    assert {file.name: file.read_text() for file in (tmp_path / "out").iterdir()} == {
        "s.0.out": "output 0",
        "s.1.out": "output 1",
        "s.2.out": "output 2",
        "s.3.out": "output 3",
        "s.1-4.out": "output 4",
    }
    assert set(service.stored) == {sha256(b"a.csv"), sha256(b"b.csv")}
