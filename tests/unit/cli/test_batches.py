"""`dshpc batch results`, and what is said about a batch that goes on."""

import dataclasses

import pytest

from dshpc.cli import going_on
from dshpc.cli.batch import Batch, Row
from dshpc.cli.policies import Cache
from dshpc.v1 import types_pb2
from support import fake_rows
from support.dshpc_command import Command
from support.fake_service import BATCH_ID, FakeService

TARGET = "127.0.0.1:50051"


@pytest.fixture
def answered(service: FakeService) -> FakeService:
    """A batch of a completed, a failed and a running row."""
    config = types_pb2.JobConfig(method_name="m", config_id="row")
    service.rows = [
        fake_rows.completed(0, config),
        fake_rows.failed(1, config),
        fake_rows.moving(2, config, types_pb2.JOB_STATUS_RUNNING),
    ]
    return service


def test_the_rows_of_a_batch_are_shown_as_they_stand(dshpc: Command, answered: FakeService) -> None:
    assert dshpc("batch", "results", BATCH_ID) == 0

    assert [line.split()[0] for line in dshpc.out.splitlines()[1:4]] == ["1", "2", "0"]
    assert "exit code 3: no such column: age" in dshpc.out
    assert "output 0" in dshpc.out
    assert "total_jobs" not in dshpc.out
    assert dshpc("batch", "results", BATCH_ID, "-s", "running", "-o", "json") == 0
    assert [line["index"] for line in dshpc.lines()] == [0, 1, 2]
    assert list(answered.pages[-1].statuses) == [types_pb2.JOB_STATUS_RUNNING]
    assert not answered.batches


def test_what_is_no_batch_id_is_a_usage_error(dshpc: Command, service: FakeService) -> None:
    assert dshpc("batch", "results", "tables") == 2
    assert "'tables' is not a batch_id" in dshpc.err
    assert not service.asked


@pytest.mark.parametrize("word", [Cache.REFRESH, Cache.BYPASS])
def test_a_batch_that_runs_anew_is_not_to_be_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, word: Cache
) -> None:
    monkeypatch.delenv("DSHPC_SERVER", raising=False)
    row = Row(method_name="m")
    plain = Batch(rows=(row,))
    of_batch = dataclasses.replace(plain, cache=word)
    of_row = Batch(rows=(row, dataclasses.replace(row, cache=word)))

    said = [going_on.results(batch, BATCH_ID, target=TARGET) for batch in (plain, of_batch, of_row)]

    command = f"'dshpc batch results {BATCH_ID}' shows their results"
    assert said == ["the same command again gets their results", command, command]


def test_a_command_names_the_server_unless_it_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop() -> str:
        return going_on.stop("B", target=TARGET)

    monkeypatch.setenv("DSHPC_SERVER", "elsewhere:1")
    assert stop() == f"'dshpc --server {TARGET} job cancel --batch B' stops them"
    monkeypatch.setenv("DSHPC_SERVER", TARGET)
    assert stop() == "'dshpc job cancel --batch B' stops them"
