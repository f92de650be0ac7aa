"""Methods that write the engine's records and kill its runner, against the real server.

A method runs as the user who runs the server. What it writes is at most its own loss: the server
serves on, now and after a restart, and no other job's end is told by it.
"""

import json
import os
import pathlib
import signal

import grpc
import pytest

from dshpc.v1 import types_pb2
from dshpc_server.engine.local import processes
from support import calls, live_server, site

# The input is the record; JOB_ID in it becomes the job's own.
FORGE = """
attempt=$(dirname "$JOB_WORKSPACE")
sed "s/JOB_ID/$(basename "$(dirname "$attempt")")/" "$1" > "$attempt/exit.json"
kill -9 $PPID
sleep 600
"""
EXITED: dict[str, object] = {
    "boot_id": processes.BOOT_ID,
    "fact": "exited",
    "name": "JOB_ID.1",
    "at": 2.0,
    "started_at": 1.0,
    "pid": 1,
    "exit_code": 0,
    "signal": None,
    "cause": "NONE",
}
FORGED: list[object] = [
    {"boot_id": processes.BOOT_ID},
    [],
    EXITED,
    EXITED | {"fact": []},
    EXITED | {"at": 1e300},
    EXITED | {"cause": "MERCY"},
    EXITED | {"name": f"{'f' * 64}.1"},
]


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """The test methods, and one that forges."""
    made = site.write(tmp_path / "site")
    site.install(made, "forge", FORGE)
    return made


def test_forged_records_are_their_jobs_loss_and_the_server_serves_on(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    lost: list[str] = []
    with live_server.as_process(tmp_path, methods_dir, max_retries=0) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            for number, record in enumerate(FORGED):
                forging = calls.config("forge", service.upload(json.dumps(record).encode()))
                lost.append(_assert_lost(service.run(forging)))
                _assert_serves(service, f"after {number}\n")
        assert first.process.poll() is None
        first.stop(signal.SIGKILL)
    with (
        live_server.as_process(tmp_path, methods_dir, max_retries=0) as second,
        grpc.insecure_channel(second.address) as channel,
    ):
        service = calls.Service(channel)
        for job_id in lost:
            assert service.job(job_id).status == types_pb2.JOB_STATUS_NODE_FAIL
        for number, _ in enumerate(FORGED):
            _assert_serves(service, f"after {number}\n")
    assert len(set(lost)) == len(FORGED)


def test_a_record_in_the_name_of_another_job_does_not_complete_that_job(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with (
        live_server.as_process(tmp_path, methods_dir, max_retries=0) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        held = calls.config("hold", service.upload(gate.content))
        held_id = service.ask(held).job_id
        service.wait_for_status(held_id, types_pb2.JOB_STATUS_RUNNING)
        record = EXITED | {"name": f"{held_id}.1"}
        _assert_lost(
            service.run(calls.config("forge", service.upload(json.dumps(record).encode())))
        )
        # Its runner was killed, so it is lost too, and runs again when it is asked for.
        service.wait_for_status(held_id, types_pb2.JOB_STATUS_NODE_FAIL)
        again = service.ask(held)
        assert (again.job_id, again.attempt) == (held_id, 2)
        gate.open(b"the truth\n")
        ended = service.run(held)
        assert (ended.output, ended.attempt) == ("the truth\n", 2)


def test_a_record_that_was_forged_while_no_server_was_there_does_not_hold_up_the_next(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    site.install(methods_dir, "forge_later", f'cat "{tmp_path}/gate" > /dev/null\n{FORGE}')
    with live_server.as_process(tmp_path, methods_dir, max_retries=0) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            record = json.dumps({"boot_id": processes.BOOT_ID}).encode()
            forging = calls.config("forge_later", service.upload(record))
            job_id = service.ask(forging).job_id
            service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        first.stop(signal.SIGKILL)
        gate.open()
        forged = next((first.data_dir / "attempts").glob(f"*/{job_id}/1")) / "exit.json"
        live_server.wait_for(forged.exists, "the forged record")
        with (
            live_server.as_process(tmp_path, methods_dir, max_retries=0) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            service.wait_for_status(job_id, types_pb2.JOB_STATUS_NODE_FAIL)
            data = service.upload(b"the truth\n")
            assert service.run(calls.config("echo", data)).output == "the truth\n"


def test_a_hangup_of_everything_of_the_server_ends_no_job(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with (
        live_server.as_process(
            tmp_path, methods_dir, None, live_server.StartedProcess, max_retries=0
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        held = calls.config("hold", service.upload(gate.content))
        job_id = service.ask(held).job_id
        job = service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        # As `pkill -HUP -f dshpc_server` does: server and runner, which name the data folder.
        own = [pid for pid in live_server.processes_of(server.data_dir) if _is_of_the_server(pid)]
        assert server.process.pid in own
        assert len(own) == 2
        for pid in own:
            os.kill(pid, signal.SIGHUP)
        assert service.job(job_id).engine_job_id == job.engine_job_id
        gate.open(b"survived\n")
        ended = service.run(held)
        assert (ended.output, ended.attempt) == ("survived\n", 1)


def _assert_lost(result: types_pb2.MultiJobResult) -> str:
    assert result.new_status == types_pb2.JOB_STATUS_NODE_FAIL
    assert "its exit record is unreadable" in result.error.message
    assert not result.HasField("output")
    return result.job_id


def _assert_serves(service: calls.Service, truth: str) -> None:
    """A job that forges nothing completes, or has: with its own output."""
    asked = calls.config("echo", service.upload(truth.encode()))
    assert service.run(asked).output == truth


def _is_of_the_server(pid: int) -> bool:
    return b"dshpc_server" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
