"""The order in which jobs start: batches take turns, priorities go first, and can be changed.

The one slot is held until everything waits that is to wait; from then on each job notes its start,
so that the order is what is looked at, and no clock.
"""

import pathlib
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import batch_service_pb2, server_service_pb2, types_pb2
from support import calls, live_server, site

# Notes its name, which is its one parameter, in the file that its input names.
NOTED = 'tr -dc "a-z0-9-" < "$2" | sed "s/^name//" >> "$(cat -- "$1")"; echo >> "$(cat -- "$1")"'
UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Line:
    """A server with one slot, which is taken until the line is let go."""

    def __init__(self, service: calls.Service, folder: pathlib.Path) -> None:
        self.service = service
        self._notes = folder / "notes"
        self._file_hash = service.upload(bytes(self._notes))
        self._gate = site.Gate(folder / "gate")
        held = service.ask(calls.config("hold", service.upload(self._gate.content)))
        service.wait_for_status(held.job_id, types_pb2.JOB_STATUS_RUNNING)
        self._waiting: list[str] = []

    def add(self, *names: str, priority: int = 0, **own: int) -> str:
        """Let a batch of these jobs wait, some with a priority of their own; its batch_id."""
        rows = [calls.config("noted", self._file_hash, {"name": name}) for name in names]
        for name, each in own.items():
            rows[names.index(name)].priority = each
        answer = self.service.simulate(*rows, priority=priority)
        self._waiting += [row.job_id for row in answer.results]
        return answer.batch_id

    def update(self, batch_id: str, priority: int) -> batch_service_pb2.Batch:
        """Give a batch another priority."""
        asked = batch_service_pb2.UpdateBatchRequest(batch_id=batch_id, priority=priority)
        return self.service.batches.UpdateBatch(asked, timeout=60).batch

    def started(self) -> list[str]:
        """Let all of them go; their names in the order in which they started."""
        self._gate.open()
        for job_id in self._waiting:
            self.service.wait_for_status(job_id, types_pb2.JOB_STATUS_COMPLETED)
        return self._notes.read_text().split()


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and one that notes when it starts."""
    made = site.write(tmp_path_factory.mktemp("site"))
    site.install(made, "noted", NOTED)
    return made


@pytest.fixture(scope="module")
def one_slot(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path
) -> Iterator[calls.Service]:
    settings = live_server.settings(tmp_path_factory.mktemp("one"), methods_dir, slots=1)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield calls.Service(channel)


@pytest.fixture
def line(one_slot: calls.Service, tmp_path: pathlib.Path) -> Line:
    return Line(one_slot, tmp_path)


def test_a_batch_of_one_starts_after_at_most_one_job_of_a_large_one(line: Line) -> None:
    large = [f"large-{number}" for number in range(40)]
    line.add(*large)
    line.add("small")
    started = line.started()
    assert started.index("small") <= 1
    assert [name for name in started if name != "small"] == large


def test_batches_of_equal_priority_take_turns(line: Line) -> None:
    line.add("a0", "a1", "a2", priority=3)
    line.add("b0", "b1", priority=3)
    line.add("c0", priority=3)
    assert line.started() == ["a0", "b0", "c0", "a1", "b1", "a2"]


def test_higher_priorities_start_first_and_a_rows_own_counts(line: Line) -> None:
    line.add("low", priority=-100)
    line.add("usual", "urgent", urgent=50)
    line.add("high", "default", priority=20, default=0)
    assert line.started() == ["urgent", "high", "usual", "default", "low"]


def test_what_is_waited_for_with_a_higher_priority_moves_up(line: Line) -> None:
    line.add("first", "wanted")
    line.add("other", priority=1)
    line.add("wanted", priority=2)
    assert line.started() == ["wanted", "other", "first"]


def test_a_batch_whose_priority_is_changed_starts_by_it_and_the_log_says_so(
    line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    first = line.add("first-0", "first-1", "own", own=1)
    second = line.add("second-0", "second-1")
    changed = line.update(second, 5)
    assert (changed.batch_id, changed.priority) == (second, 5)
    assert line.update(first, -5).priority == -5
    logged = [each for each in capsys.readouterr().out.splitlines() if "batch.updated" in each]
    assert [second in logged[0], "priority=5" in logged[0], len(logged)] == [True, True, 2]
    line.add("usual")
    names = ["second-0", "second-1", "own", "usual", "first-0", "first-1"]
    assert line.started() == names


def test_a_batch_that_has_finished_can_be_changed_to_no_effect(one_slot: calls.Service) -> None:
    file_hash = one_slot.upload(b"finished\n")
    answer = one_slot.simulate(calls.config("echo", file_hash), finished=True, display_name="mine")
    asked = batch_service_pb2.UpdateBatchRequest(batch_id=answer.batch_id, priority=100)
    batch = one_slot.batches.UpdateBatch(asked, timeout=60).batch
    assert (batch.batch_id, batch.display_name, batch.priority) == (answer.batch_id, "mine", 100)
    assert batch.create_time.seconds > 0


@pytest.mark.parametrize("priority", [-101, 101])
def test_a_priority_out_of_bounds_is_refused(one_slot: calls.Service, priority: int) -> None:
    asked = batch_service_pb2.UpdateBatchRequest(batch_id=UNKNOWN, priority=priority)
    refused = calls.refusal(lambda: one_slot.batches.UpdateBatch(asked, timeout=60))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    wrong = error_details_pb2.BadRequest()
    assert any(detail.Unpack(wrong) for detail in refused.status.details)
    assert [violation.field for violation in wrong.field_violations] == ["priority"]
    assert f"{priority} is not between -100 and 100" in refused.text


def test_a_batch_that_is_not_there_cannot_be_changed(one_slot: calls.Service) -> None:
    asked = batch_service_pb2.UpdateBatchRequest(batch_id=UNKNOWN, priority=1)
    refused = calls.refusal(lambda: one_slot.batches.UpdateBatch(asked, timeout=60))
    assert refused.code is grpc.StatusCode.NOT_FOUND


def test_a_row_with_a_priority_out_of_bounds_is_rejected_alone(one_slot: calls.Service) -> None:
    file_hash = one_slot.upload(b"bounds\n")
    wrong, right = (calls.config("echo", file_hash, priority=each) for each in (101, 100))
    first, second = one_slot.simulate(wrong, right, finished=True).results
    assert first.outcome == types_pb2.OUTCOME_REJECTED
    assert "priority: 101 is not between -100 and 100" in first.message
    assert second.new_status == types_pb2.JOB_STATUS_COMPLETED


def test_the_server_tells_the_bounds_of_priorities(one_slot: calls.Service) -> None:
    info = one_slot.server.GetServerInfo(server_service_pb2.GetServerInfoRequest(), timeout=60)
    assert "priorities" in info.features
    assert (info.limits.lowest_priority, info.limits.highest_priority) == (-100, 100)
