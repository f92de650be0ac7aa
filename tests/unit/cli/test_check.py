"""`dshpc run --check`: what would happen, and nothing does."""

import pathlib

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from support import fake_rows
from support.dshpc_command import Command
from support.fake_rows import sha256
from support.fake_service import FakeService


def stored_or_lacking(service: FakeService) -> None:
    """Let rows be rejected whose file the server lacks."""

    def answer(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
        if config.file_hash not in service.stored:
            return fake_rows.lacking_a_file(index, config)
        return fake_rows.completed(index, config)

    service.answer = answer


def test_a_check_submits_nothing_and_uploads_nothing(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.stored[sha256(b"a\n")] = b"a\n"
    stored_or_lacking(service)

    assert dshpc("run", batch, "--check", "--cache", "refresh") == 0

    (request,) = service.batches
    assert isinstance(request, job_service_pb2.StreamSimulateJobsRequest)
    assert request.options.validate_only
    assert request.options.cache_policy == types_pb2.CACHE_POLICY_REFRESH
    assert set(service.stored) == {sha256(b"a\n")}
    heading, *rows = dshpc.out.splitlines()
    assert heading.split() == ["#", "job", "decision", "why"]
    assert [" ".join(row.split()) for row in rows[:3]] == [
        f"2 column_stats/b/1 AFTER UPLOAD {batch.parent / 'b.csv'}",
        "0 first FOUND COMPLETED Completed job found",
        "1 column_stats/a/1 FOUND COMPLETED Completed job found",
    ]
    assert rows[-1] == (
        "checked 3 jobs: 2 found completed, 1 after upload; 1 file (2 B) to upload; "
        "nothing was changed"
    )
    assert dshpc.err == ""


def test_a_rejected_row_is_exit_code_1(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    answers = {1: fake_rows.rejected, 2: fake_rows.kept}
    service.answer = lambda index, config: answers.get(index, fake_rows.completed)(index, config)

    assert dshpc("run", batch, "--check") == 1

    rows = [" ".join(line.split()) for line in dshpc.out.splitlines()[1:4]]
    assert rows[0] == "1 column_stats/a/1 REJECTED Method 'column_stats' not found"
    assert rows[1].startswith("2 column_stats/b/1 FAILURE KEPT FAILED: exit code 3: no such column")


def test_a_row_of_a_sweep_is_known_by_its_own_file(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = fake_rows.lacking_a_file
    service.stored[sha256(b"a\n")] = b"a\n"
    batch.write_text("jobs: [{method: m, sweep: {axes: {file: ['*.csv'], x: [1, 2]}}}]\n")

    assert dshpc("run", batch, "--check", "-o", "json") == 1

    *rows, _ = dshpc.lines()
    needs = [row.get("needsUpload") for row in rows]
    assert needs == [None, None, *[[str(batch.parent / "b.csv")]] * 2]


def test_a_stored_file_that_is_named_by_its_hash_and_not_there_is_a_rejection(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    stored_or_lacking(service)
    path = tmp_path / "batch.yaml"
    path.write_text(f"jobs: [{{method: m, file_hash: {'f' * 64}}}]")

    assert dshpc("run", path, "--check") == 1
    assert "REJECTED" in dshpc.out


def test_a_check_in_json_is_a_line_a_row_and_then_the_counts(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    stored_or_lacking(service)

    assert dshpc("run", batch, "--check", "--output", "json") == 0

    *rows, last = dshpc.lines()
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert rows[0]["needsUpload"] == [str(batch.parent / "a.csv")]
    assert last == {"checked": {"AFTER_UPLOAD": 3}}
    assert dshpc.err.startswith("checked 3 jobs: ")


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_quiet_check_writes_no_more_than_it_must(
    dshpc: Command, batch: pathlib.Path, output: str
) -> None:
    assert dshpc("run", batch, "--check", "--quiet", "--output", output) == 0

    assert len(dshpc.out.splitlines()) == {"table": 1, "json": 4}[output]
    assert dshpc.err == ""
