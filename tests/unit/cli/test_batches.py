"""`dshpc batch`: what it asks and shows, and what is said about a batch that goes on."""

import signal
import subprocess

import grpc
import pytest

from dshpc.cli import going_on
from dshpc.v1 import types_pb2
from support import fake_rows
from support.dshpc_command import DEADLINE_SECONDS, Command
from support.fake_batches import batch_id
from support.fake_service import BATCH_ID, FakeService

TARGET = "127.0.0.1:50051"
UUID = "8c3f6a52-0000-4000-8000-000000000001"
CONFIG = types_pb2.JobConfig(method_name="m", config_id="row")


@pytest.fixture
def answered(service: FakeService) -> FakeService:
    """A batch of a completed, a failed and a running row."""
    rows = [
        fake_rows.completed(0, CONFIG),
        fake_rows.failed(1, CONFIG),
        fake_rows.moving(2, CONFIG, types_pb2.JOB_STATUS_RUNNING),
    ]
    service.keep(rows, display_name="tables")
    return service


def pairs(out: str) -> dict[str, str]:
    """Names and values, a line each."""
    return {
        name: value.strip() for name, _, value in (line.partition(" ") for line in out.splitlines())
    }


def test_batches_are_listed_the_newest_first(dshpc: Command, answered: FakeService) -> None:
    for _ in range(3):
        answered.keep([fake_rows.completed(0, CONFIG)])

    assert dshpc("batch", "list") == 0
    heading, *rows = [line.split() for line in dshpc.out.splitlines()]
    # What was cancelled or not found has not failed.
    assert " ".join(heading) == "batch_id state jobs completed not completed created name"
    assert [row[0] for row in rows] == [batch_id(number) for number in (4, 3, 2, 1)]
    assert rows[0][1:] == ["FINISHED", "1", "1", "0"]
    assert rows[-1][1:] == ["RUNNING", "3", "1", "1", "tables"]

    assert dshpc("batch", "list", "-q", "-n", "2") == 0
    assert dshpc.out.split() == [batch_id(4), batch_id(3)]
    assert dshpc.err == "the newest 2 batches; --limit shows more\n"
    assert dshpc("batch", "list", "-q", "-n", "1") == 0
    assert dshpc.err == "the newest 1 batch; --limit shows more\n"
    assert dshpc("batch", "list", "-o", "json") == 0
    assert dshpc.lines()[-1]["statistics"]["totalJobs"] == 3


def test_no_batches_is_said(dshpc: Command) -> None:
    assert dshpc("batch", "list") == 0
    assert dshpc.err == "no batches\n"
    assert dshpc("batch", "list", "-q") == 0
    assert dshpc.err == ""


def test_a_batch_is_shown_with_its_counts(dshpc: Command, answered: FakeService) -> None:
    assert dshpc("batch", "show", BATCH_ID) == 0

    shown = pairs(dshpc.out)
    assert shown["batch_id"] == BATCH_ID
    assert shown["state"] == "RUNNING"
    assert shown["name"] == "tables"
    assert shown["priority"] == "0"
    assert shown["failed_jobs"] == "1"
    assert "skipped_jobs" not in shown
    assert dshpc("batch", "show", BATCH_ID, "-o", "json") == 0
    assert dshpc.lines()[0]["displayName"] == "tables"
    assert dshpc("batch", "show", batch_id(9)) == 1
    assert not answered.batches


def test_a_batch_is_watched_to_its_end_like_a_run(dshpc: Command, answered: FakeService) -> None:
    rows = answered.accepted[BATCH_ID].rows
    rows[2] = fake_rows.completed(2, CONFIG)
    answered.cuts["WatchBatch"] = [2]

    assert dshpc("batch", "watch", BATCH_ID) == 1

    accepted, paused = dshpc.err.splitlines()
    assert accepted == f"batch {BATCH_ID}: 3 jobs"
    assert paused.startswith("the stream broke (the server at ")
    assert "the server goes away); going on in 0." in paused
    assert "3 jobs: 2 completed, 1 failed" in dshpc.out
    assert len(answered.watches) == 2
    del rows[1]
    assert dshpc("batch", "watch", BATCH_ID, "-o", "json", "-q") == 0
    assert [line.get("index") for line in dshpc.lines()] == [0, 2, None]
    assert dshpc.lines()[-1]["batchId"] == BATCH_ID
    assert not answered.batches


def test_watching_what_is_not_there_is_a_failure(dshpc: Command, service: FakeService) -> None:
    assert dshpc("batch", "watch", BATCH_ID) == 1
    assert dshpc.err == f"dshpc: batch '{BATCH_ID}' not found\n"
    service.refusals["WatchBatch"] = [grpc.StatusCode.UNAVAILABLE] * 9
    assert dshpc("batch", "watch", BATCH_ID) == 69


def test_ctrl_c_ends_watching_and_not_the_batch(dshpc: Command, answered: FakeService) -> None:
    answered.holds_after = 1
    with dshpc.process(
        *("batch", "watch", BATCH_ID, "-o", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130
    assert f"batch cancel {BATCH_ID}' stops it" in err.decode()
    assert not answered.batch_cancels


def test_a_batch_is_cancelled_and_it_is_told_what_became_of_it(
    dshpc: Command, answered: FakeService
) -> None:
    assert dshpc("batch", "cancel", BATCH_ID, "--index", "1", "--index", "0") == 0
    assert dshpc.out == f"batch {BATCH_ID}: RUNNING; 2 ended before\n"
    assert list(answered.batch_cancels[-1].indexes) == [1, 0]

    assert dshpc("batch", "cancel", BATCH_ID, "--reason", "not needed") == 0
    assert dshpc.out == f"batch {BATCH_ID}: FINISHED; 1 stopped, 2 ended before\n"
    assert answered.batch_cancels[-1].reason == "not needed"

    assert dshpc("batch", "cancel", BATCH_ID, "-o", "json") == 0
    (line,) = dshpc.lines()
    assert (line["cancelRequested"], line["detached"], line["alreadyTerminal"]) == (0, 0, 3)
    assert dshpc("batch", "cancel", batch_id(9)) == 1


def test_what_failed_is_retried_and_followed(dshpc: Command, answered: FakeService) -> None:
    assert dshpc("batch", "retry", BATCH_ID, "-o", "json", "--request-id", UUID.upper()) == 0

    row, last = dshpc.lines()
    assert row["newStatus"] == "JOB_STATUS_COMPLETED"
    assert last["batchId"] == batch_id(2)
    assert answered.batch_retries[0].request_id == UUID
    assert dshpc("batch", "retry", batch_id(2)) == 1
    assert dshpc.err == "dshpc: nothing to retry\n"
    assert dshpc("batch", "retry", BATCH_ID, "--no-wait") == 0
    assert pairs(dshpc.out)["batch_id"] == batch_id(3)
    assert dshpc("batch", "retry", BATCH_ID, "--request-id", "again") == 2
    assert dshpc.err == "dshpc: 'again' is not a UUID, as 'uuidgen' makes them\n"


def test_a_batch_moves_in_the_queue(dshpc: Command, answered: FakeService) -> None:
    assert dshpc("batch", "update", BATCH_ID, "--priority", "-7") == 0

    assert pairs(dshpc.out)["priority"] == "-7"
    assert answered.accepted[BATCH_ID].priority == -7
    assert dshpc("batch", "update", BATCH_ID, "--priority", "101") == 2
    assert dshpc("batch", "update", BATCH_ID) == 2


def test_the_rows_of_a_batch_are_shown_as_they_stand(dshpc: Command, answered: FakeService) -> None:
    assert dshpc("batch", "results", BATCH_ID) == 0

    assert [line.split()[0] for line in dshpc.out.splitlines()[1:4]] == ["1", "2", "0"]
    assert "exit code 3: no such column: age" in dshpc.out
    assert "output 0" in dshpc.out
    assert "total_jobs" not in dshpc.out
    assert dshpc("batch", "results", BATCH_ID, "-s", "running", "-o", "json") == 0
    assert [line["index"] for line in dshpc.lines()] == [0, 1, 2]
    assert list(answered.pages[-1].statuses) == [types_pb2.JOB_STATUS_RUNNING]
    assert dshpc("batch", "results", BATCH_ID, "--outcome", "rejected,Failure-Kept") == 0
    assert list(answered.pages[-1].outcomes) == [
        types_pb2.OUTCOME_REJECTED,
        types_pb2.OUTCOME_FAILURE_KEPT,
    ]
    assert dshpc("batch", "results", BATCH_ID, "--outcome", "refused") == 2
    assert dshpc.err.startswith("dshpc: 'refused' is not an outcome")
    assert not answered.batches


def test_what_is_no_batch_id_is_a_usage_error(dshpc: Command, service: FakeService) -> None:
    assert dshpc("batch", "results", "tables") == 2
    assert "'tables' is not a batch_id" in dshpc.err
    assert not service.asked


def test_a_command_names_the_server_unless_it_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop() -> str:
        return going_on.stop("B", target=TARGET)

    monkeypatch.setenv("DSHPC_SERVER", "elsewhere:1")
    assert stop() == f"'dshpc --server {TARGET} batch cancel B' stops it"
    monkeypatch.setenv("DSHPC_SERVER", TARGET)
    assert stop() == "'dshpc batch cancel B' stops it"
