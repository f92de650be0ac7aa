"""`max_failures` over the wire: a batch of which too many jobs fail wants the rest no more."""

import pathlib
import signal
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import batch_calls, calls, live_server, site

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
FAILED = types_pb2.JOB_STATUS_FAILED
RUNNING = types_pb2.JOB_STATUS_RUNNING


@pytest.fixture
def alone(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> Iterator[calls.Service]:
    """A server with one slot: rows run in their order."""
    settings = live_server.settings(tmp_path, methods_dir, slots=1)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        yield calls.Service(channel)


def failing(service: calls.Service, *names: str) -> list[types_pb2.JobConfig]:
    """Jobs that leave with code 3."""
    file_hash = service.upload(b"some data\n")
    return [calls.config("exit", file_hash, {"code": 3, "name": name}) for name in names]


def held(service: calls.Service, gate: site.Gate) -> types_pb2.JobConfig:
    return calls.config("hold", service.upload(gate.content))


def waiting(count: int) -> list[types_pb2.JobConfig]:
    return [calls.config("no_input", parameters={"n": n}) for n in range(count)]


def test_once_so_many_have_failed_the_rest_is_cancelled_and_says_why(
    alone: calls.Service, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = site.Gate(tmp_path / "gate")
    rows = [*failing(alone, "a", "b"), held(alone, gate), *waiting(5)]
    answer = alone.simulate(*rows, max_failures=2, finished=True)
    assert [row.new_status for row in answer.results] == [FAILED, FAILED, *[CANCELLED] * 6]
    assert {row.error.message for row in answer.results[2:]} == {
        "Cancelled: max_failures: 2 jobs failed"
    }
    assert (answer.statistics.final, answer.statistics.failed_jobs) == (True, 2)
    batch_calls.check_statistics(answer.statistics)
    again = batch_calls.cancel(alone, answer.batch_id, reason="too late")
    assert batch_calls.counts(again) == (0, 0, 8)
    assert again.batch.reason == "max_failures: 2 jobs failed"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "batch.withdrawn" in line][
        :1
    ]
    assert "cause=max_failures" in line


def test_fewer_failures_than_that_stop_nothing(alone: calls.Service) -> None:
    rows = [*failing(alone, "a", "b"), *waiting(2)]
    answer = alone.simulate(*rows, max_failures=3, finished=True)
    assert [row.new_status for row in answer.results] == [FAILED, FAILED, COMPLETED, COMPLETED]
    unlimited = alone.simulate(*failing(alone, "c", "d"), *waiting(3), finished=True)
    assert unlimited.results[-1].new_status == COMPLETED


def test_failures_that_are_kept_count_as_well(alone: calls.Service, tmp_path: pathlib.Path) -> None:
    alone.simulate(*failing(alone, "a", "b"), finished=True)
    gate = site.Gate(tmp_path / "gate")
    never = types_pb2.RESUBMIT_POLICY_NEVER
    rows = [*failing(alone, "a", "b"), held(alone, gate)]
    answer = alone.simulate(*rows, max_failures=2, resubmit_policy=never, finished=True)
    assert answer.statistics.kept_failures == 2
    assert answer.results[2].error.message == "Cancelled: max_failures: 2 jobs failed"


def test_what_others_wait_for_goes_on(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    shared = held(service, gate)
    other = service.simulate(shared)
    service.wait_for_status(other.results[0].job_id, RUNNING)
    limited = service.simulate(*failing(service, "a"), shared, max_failures=1).batch_id
    batch_calls.wait_for_statuses(service, limited, [FAILED, CANCELLED])
    assert batch_calls.rows(service, limited)[1].error.message == (
        "Cancelled: max_failures: 1 jobs failed (its run goes on for others)"
    )
    assert batch_calls.statuses(service, other.batch_id) == [RUNNING]
    gate.open()
    batch_calls.wait_for_statuses(service, other.batch_id, [COMPLETED])


def test_a_limit_below_zero_is_refused(service: calls.Service) -> None:
    refused = calls.refusal(lambda: service.simulate(calls.config("nobody"), max_failures=-1))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.text == "options.max_failures: must not be negative"


def test_a_server_that_dies_as_the_limit_is_reached_stops_the_rest_after_its_restart(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    flags = {"slots": 1, "retry-first-seconds": 0.1}
    dying = {**flags, "crash-at": "end.recorded:2"}
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir, **dying) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            rows = [*failing(service, "a", "b"), held(service, gate), *waiting(2)]
            batch_id = service.simulate(*rows, max_failures=2).batch_id
        assert first.process.wait(live_server.STOP_SECONDS) == -signal.SIGKILL
        with (
            live_server.as_process(tmp_path, methods_dir, **flags) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            expected = [FAILED, FAILED, CANCELLED, CANCELLED, CANCELLED]
            batch_calls.wait_for_statuses(service, batch_id, expected)
            (*_, last) = batch_calls.rows(service, batch_id)
            assert last.error.message == "Cancelled: max_failures: 2 jobs failed"
