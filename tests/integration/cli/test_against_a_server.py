"""The command against a real server: what people do in a day."""

import pathlib

import pytest

from support import site
from support.dshpc_command import Command


@pytest.fixture
def batch(tmp_path: pathlib.Path) -> pathlib.Path:
    """A batch of three jobs: one that works, one that fails, one that can never work."""
    (tmp_path / "a.csv").write_text(f"{tmp_path}\n")
    path = tmp_path / "batch.yaml"
    # The folder's name makes each test's jobs its own.
    rows = [f"{{code: {code}, of: {name(tmp_path)}}}" for code in (3, 78)]
    path.write_text(
        "jobs:\n"
        "  - {method: echo, file: a.csv, config_id: works}\n"
        f"  - {{method: exit, file: a.csv, config_id: fails, parameters: {rows[0]}}}\n"
        f"  - {{method: exit, file: a.csv, config_id: never, parameters: {rows[1]}}}\n"
    )
    return path


def name(folder: pathlib.Path) -> str:
    """A word without digits that is this folder's alone: `exit` reads all digits as the code."""
    return "".join(c for c in site.hash_of(str(folder).encode()) if c.isalpha())


def outcomes(real: Command, batch: pathlib.Path, *options: str) -> dict[str, str]:
    """Run a batch; what was decided about each row."""
    real("run", batch, "--output", "json", *options)
    return {
        line["configId"]: line["outcome"].removeprefix("OUTCOME_") for line in real.lines()[:-1]
    }


def test_a_check_tells_what_a_run_then_does(real: Command, batch: pathlib.Path) -> None:
    assert real("run", batch, "--check", "-o", "json") == 0
    assert real.lines()[-1] == {"checked": {"AFTER_UPLOAD": 3}}
    assert real("job", "list", "-q", "--method", "echo") == 0
    before = real.out.split()

    assert outcomes(real, batch) == dict.fromkeys(("works", "fails", "never"), "SUBMITTED")
    assert real("job", "list", "-q", "--method", "echo") == 0
    assert len(real.out.split()) == len(before) + 1

    assert real("run", batch, "--check", "--resubmit", "retriable", "-o", "json") == 0
    *rows, _ = real.lines()
    assert {row["configId"]: row["outcome"] for row in rows} == {
        "works": "OUTCOME_FOUND_COMPLETED",
        "fails": "OUTCOME_RESUBMITTED",
        "never": "OUTCOME_FAILURE_KEPT",
    }
    batch.write_text(batch.read_text() + "  - {method: nothing}\n")
    assert real("run", batch, "--check") == 1
    assert "REJECTED" in real.out


def test_policies_decide_what_runs(real: Command, batch: pathlib.Path) -> None:
    assert outcomes(real, batch, "--cache", "only") == dict.fromkeys(
        ("works", "fails", "never"), "NOT_FOUND"
    )
    assert set(outcomes(real, batch).values()) == {"SUBMITTED"}
    assert outcomes(real, batch, "--resubmit", "never") == {
        "works": "FOUND_COMPLETED",
        "fails": "FAILURE_KEPT",
        "never": "FAILURE_KEPT",
    }
    assert outcomes(real, batch, "--resubmit", "retriable") == {
        "works": "FOUND_COMPLETED",
        "fails": "RESUBMITTED",
        "never": "FAILURE_KEPT",
    }
    assert outcomes(real, batch, "--cache", "refresh")["works"] in {"SUBMITTED", "RESUBMITTED"}
    assert outcomes(real, batch, "--cache", "only")["works"] == "FOUND_COMPLETED"


def test_a_failed_job_is_found_shown_and_its_log_read(real: Command, batch: pathlib.Path) -> None:
    assert real("run", batch, "--quiet") == 1
    assert real("run", batch) == 1
    commands = [line for line in real.out.splitlines() if " job log " in line]
    assert len(commands) == 2
    assert real("job", "log", commands[0].split()[-1]) == 0
    assert real.out == "leaving\n"

    job_id = commands[0].split()[-1]
    assert real("job", "show", job_id, "-o", "json") == 0
    (job,) = real.lines()
    assert [attempt["attempt"] for attempt in job["attempts"]] == [1, 2]
    assert real("job", "log", job_id, "--attempt", "1") == 0
    assert real.out == "leaving\n"
    assert real("job", "log", job_id, "--attempt", "9") == 1
    assert len(real.err.splitlines()) == 1
    assert real("job", "list", "-q", "--status", "failed", "--method", "exit") == 0
    assert job_id in real.out.split()
    assert real("job", "show", job_id, "--wait", "--output", "json") == 1


def test_a_file_is_kept_while_a_job_needs_it_and_removed_then(
    real: Command, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    (tmp_path / "held.txt").write_bytes(gate.content)
    path = tmp_path / "batch.yaml"
    path.write_text("jobs: [{method: hold, file: held.txt}]")
    assert real("run", path, "--no-wait", "-o", "json") == 1
    job_id = real.lines()[0]["jobId"]
    file_hash = site.hash_of(gate.content)

    assert real("files", "list", "-o", "json") == 0
    assert file_hash in [line["fileHash"] for line in real.lines()]
    assert real("files", "delete", file_hash) == 1
    assert file_hash in real.err
    assert real.out == ""

    gate.open()
    assert real("job", "show", job_id, "--wait") == 0
    assert real("files", "delete", file_hash) == 0
    assert "removed" in real.out
    assert real("files", "show", file_hash) == 1
    assert real("files", "delete", file_hash) == 1


def test_a_version_may_be_shown_and_pinned(real: Command, tmp_path: pathlib.Path) -> None:
    assert real("methods", "show", "no_input", "-o", "json") == 0
    function_hash = real.lines()[0]["method"]["functionHash"]
    assert real("methods", "show", "no_input", "--version", function_hash) == 0
    assert f"function_hash: {function_hash}" in real.out
    assert real("methods", "show", "no_input", "--version", "0" * 64) == 1

    path = tmp_path / "batch.yaml"
    path.write_text(f"jobs: [{{method: no_input, function_hash: '{function_hash}'}}]")
    assert real("run", path, "-o", "json") == 0
    assert real.lines()[0]["functionHash"] == function_hash
    path.write_text(f"jobs: [{{method: no_input, function_hash: '{'0' * 64}'}}]")
    assert real("run", path) == 1
    assert "REJECTED" in real.out


def test_outputs_may_be_left_out_and_are_downloaded_even_so(
    real: Command, batch: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    batch.write_text(f"max_inline_output_bytes: 0\n{batch.read_text()}")

    assert real("run", batch, "-o", "json", "--download", tmp_path / "outputs") == 1

    completed = next(line for line in real.lines() if line.get("configId") == "works")
    assert "output" not in completed
    assert (tmp_path / "outputs" / "works.out").read_text() == f"{tmp_path}\n"
