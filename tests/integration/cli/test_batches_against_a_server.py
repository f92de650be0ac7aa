"""`dshpc batch`, and batch files with sweeps and references, against a real server."""

import pathlib

import pytest

from support import site
from support.dshpc_command import Command


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> site.Gate:
    """A gate, and `held.txt`, which names it for the method `hold`."""
    found = site.Gate(tmp_path / "gate")
    (tmp_path / "held.txt").write_bytes(found.content)
    return found


def written(folder: pathlib.Path, text: str) -> pathlib.Path:
    """Write a batch file."""
    path = folder / "batch.yaml"
    path.write_text(text)
    return path


def accepted(real: Command) -> str:
    """The batch of the last run that wrote JSON."""
    found: str = real.lines()[-1]["batchId"]
    return found


def test_a_batch_that_was_left_is_listed_shown_and_watched_to_its_end(
    real: Command, tmp_path: pathlib.Path, gate: site.Gate
) -> None:
    path = written(tmp_path, "display_name: left\njobs: [{method: hold, file: held.txt}]")
    assert real("run", path, "--no-wait", "-o", "json") == 1
    batch_id = accepted(real)

    assert real("batch", "list", "-n", "1", "-o", "json") == 0
    (listed,) = real.lines()
    assert (listed["batchId"], listed["displayName"]) == (batch_id, "left")
    assert real("batch", "show", batch_id, "-o", "json") == 0
    assert real.lines()[0]["state"] == "BATCH_STATE_RUNNING"

    gate.open(b"let go\n")
    assert real("batch", "watch", batch_id, "-o", "json") == 0
    row, last = real.lines()
    assert row["output"] == "let go\n"
    assert last["statistics"]["completedJobs"] == 1
    assert real("batch", "show", batch_id) == 0
    assert "FINISHED" in real.out


def test_a_batch_is_cancelled_and_what_others_wait_for_goes_on(
    real: Command, tmp_path: pathlib.Path, gate: site.Gate
) -> None:
    path = written(tmp_path, "jobs: [{method: hold, file: held.txt}]")
    assert real("run", path, "--no-wait", "-o", "json") == 1
    first = accepted(real)
    assert real("run", path, "--no-wait", "-o", "json") == 1
    second = accepted(real)

    assert real("batch", "cancel", first, "-o", "json") == 0
    assert real.lines()[0]["detached"] == 1
    assert real("batch", "watch", first, "-o", "json") == 1
    assert real.lines()[0]["newStatus"] == "JOB_STATUS_CANCELLED"
    gate.open()
    assert real("batch", "watch", second) == 0
    assert real("batch", "cancel", second) == 0
    assert "1 ended before" in real.out


def test_what_failed_is_retried(real: Command, tmp_path: pathlib.Path) -> None:
    (tmp_path / "marker.txt").write_text(str(tmp_path / "marker"))
    (tmp_path / "own.txt").write_text(str(tmp_path))
    path = written(
        tmp_path,
        "jobs: [{method: echo, file: own.txt}, {method: fail_once, file: marker.txt}]",
    )
    assert real("run", path, "-o", "json") == 1
    batch_id = accepted(real)

    assert real("batch", "retry", batch_id, "-o", "json") == 0

    row, last = real.lines()
    assert (row["methodName"], row["attempt"]) == ("fail_once", 2)
    assert last["batchId"] != batch_id
    assert real("batch", "retry", last["batchId"]) == 1
    assert real("batch", "retry", batch_id, "--no-wait") == 0


def test_a_batch_moves_in_the_queue(real: Command, tmp_path: pathlib.Path, gate: site.Gate) -> None:
    path = written(tmp_path, "jobs: [{method: hold, file: held.txt}]")
    assert real("run", path, "--no-wait", "--priority", "7", "-o", "json") == 1
    batch_id = accepted(real)
    assert real("batch", "show", batch_id, "-o", "json") == 0
    assert real.lines()[0]["priority"] == 7

    assert real("batch", "update", batch_id, "--priority", "-7", "-o", "json") == 0
    assert real.lines()[0]["priority"] == -7
    gate.open()
    assert real("batch", "watch", batch_id) == 0


def test_the_same_request_follows_the_same_batch(real: Command, tmp_path: pathlib.Path) -> None:
    request_id = "8c3f6a52-0000-4000-8000-00000000abcd"
    (tmp_path / "own.txt").write_text(str(tmp_path))
    path = written(tmp_path, "jobs: [{method: echo, file: own.txt}]")

    assert real("run", path, "--request-id", request_id, "-o", "json") == 0
    first = accepted(real)
    assert real("run", path, "--request-id", request_id, "-o", "json") == 0
    assert accepted(real) == first
    path.write_text("jobs: [{method: no_input}]")
    assert real("run", path, "--request-id", request_id) == 1


@pytest.mark.usefixtures("gate")  # which stays closed
def test_the_rest_is_cancelled_once_too_many_have_failed(
    real: Command, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "own.txt").write_text(str(tmp_path))
    path = written(
        tmp_path,
        "jobs:\n"
        "  - {method: hold, file: held.txt}\n"
        "  - {method: exit, file: own.txt, parameters: {code: 3}}\n",
    )

    assert real("run", path, "--max-failures", "1", "-o", "json") == 1

    statuses = {line["index"]: line["newStatus"] for line in real.lines()[:-1]}
    assert statuses == {0: "JOB_STATUS_CANCELLED", 1: "JOB_STATUS_FAILED"}


def test_a_sweep_over_files_and_values_runs(real: Command, tmp_path: pathlib.Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{tmp_path}/{name}")
    path = written(
        tmp_path,
        "jobs:\n"
        "  - config_id: s\n"
        "    method: parameters\n"
        "    sweep:\n"
        "      axes:\n"
        "        file: '*.csv'\n"
        "        x: {start: 1, stop: 100, count: 3, log_scale: true}\n",
    )
    assert real("run", path, "--check", "-o", "json") == 0
    assert real.lines()[-1] == {"checked": {"AFTER_UPLOAD": 6}}

    assert real("run", path, "-o", "json", "--download", tmp_path / "out") == 0

    *rows, last = real.lines()
    assert last["statistics"]["totalJobs"] == 6
    outputs = {row["sweepIndex"]: row["output"] for row in rows}
    assert [outputs[index] for index in range(6)] == ['{"x":1}', '{"x":10}', '{"x":100}'] * 2
    assert len({row["fileHash"] for row in rows}) == 2
    assert (tmp_path / "out" / "s.4.out").read_text() == '{"x":10}'


def test_a_pipeline_over_files_runs_in_order(real: Command, tmp_path: pathlib.Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{tmp_path}/{name}\n")
    path = written(
        tmp_path,
        "jobs:\n"
        "  - {config_id: both, method: two_inputs,\n"
        "     inputs: {left: {job: copy/a.csv}, right: {job: copy/b.csv}}}\n"
        "  - {config_id: after, method: no_input, depends_on: [copy], parameters: {of: mine}}\n"
        "  - {config_id: copy, method: echo, file: '*.csv'}\n"
        "  - {config_id: fails, method: exit, file: a.csv, parameters: {code: 3}}\n"
        "  - {config_id: never, method: no_input, depends_on: [fails]}\n"
        "  - {config_id: mourns, method: no_input,\n"
        "     depends_on: [{job: fails, condition: failed}]}\n",
    )

    assert real("run", path, "-o", "json") == 1

    rows = {line["configId"]: line for line in real.lines()[:-1]}
    assert rows["both"]["output"] == f"{tmp_path}/a.csv\n{tmp_path}/b.csv\n"
    assert rows["after"]["newStatus"] == "JOB_STATUS_COMPLETED"
    assert rows["never"]["newStatus"] == "JOB_STATUS_SKIPPED"
    assert rows["mourns"]["newStatus"] == "JOB_STATUS_COMPLETED"
    assert real.lines()[-1]["statistics"]["skippedJobs"] == 1
