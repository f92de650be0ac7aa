"""The time of day jumps while jobs run: nothing is lost, times out or ends for it."""

import pathlib

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import calls, fault_clock, fault_runner, live_server, site

COMPLETED = types_pb2.JOB_STATUS_COMPLETED


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    site.install(tmp_path / "methods", "hold", site.SCRIPTS["hold"])
    passing = 'marker=$(cat -- "$1"); [ -e "$marker" ] || { : > "$marker"; exit 75; }'
    site.install(tmp_path / "methods", "passing", passing)
    return tmp_path / "methods"


@pytest.mark.parametrize("days", [1, -1])
def test_a_run_its_timeout_and_its_stream_do_not_notice(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, days: int
) -> None:
    clock = fault_clock.MovedClock(tmp_path / "clock")
    gates = [site.Gate(tmp_path / f"gate-{number}") for number in range(2)]
    heartbeat = types_pb2.StreamOptions(include_transitions=True)
    heartbeat.heartbeat_interval.FromSeconds(1)
    fault_runner.start(fault_runner.folder_of(tmp_path / "data"), clock.environment)
    with (
        live_server.as_process(tmp_path, methods_dir, clock.environment) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        first, second = (service.upload(gate.content) for gate in gates)
        held = calls.config("hold", first, timeout="3600s")
        stream = service.stream(held, stream=heartbeat)
        running = next(e for e in stream if e.result.new_status == types_pb2.JOB_STATUS_RUNNING)
        clock.move(days=days)
        # The stream lives on, and what is asked now is answered, accepted and run.
        assert any(event.HasField("bookmark") for event in stream)
        assert service.job(running.result.job_id).status == types_pb2.JOB_STATUS_RUNNING
        queued = service.ask(calls.config("hold", second))
        service.wait_for_status(queued.job_id, types_pb2.JOB_STATUS_RUNNING)
        for gate in gates:
            gate.open()
        *_, last = stream
        assert last.statistics.completed_jobs == 1
        for job_id in (running.result.job_id, queued.job_id):
            ended = service.wait_for_status(job_id, *calls.TERMINAL)
            assert (ended.status, ended.attempt) == (COMPLETED, 1)
            assert ended.end_time.ToNanoseconds() >= ended.start_time.ToNanoseconds()


@pytest.mark.parametrize("days", [1, -1])
def test_a_retry_that_waits_comes_all_the_same(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, days: int
) -> None:
    clock = fault_clock.MovedClock(tmp_path / "clock")
    with (
        live_server.as_process(
            tmp_path, methods_dir, clock.environment, retry_first_seconds=2
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        marker = service.upload(bytes(tmp_path / "marker"))
        job_id = service.ask(calls.config("passing", marker)).job_id
        live_server.wait_for(lambda: service.job(job_id).attempt == 2, "the retry to be queued")
        clock.move(days=days)
        ended = service.wait_for_status(job_id, COMPLETED)
        assert ended.attempt == 2
