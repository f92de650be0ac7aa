"""A full disk: what cannot be kept is refused, what is promised is kept, and all goes on after it.

The data folder is a small file system of its own.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, fault_disk, live_server, site

MIB = 1 << 20
DISK_BYTES = 16 * MIB
LARGE = b"0123456789abcdef" * (MIB // 16)
PENDING = types_pb2.JOB_STATUS_PENDING


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    return site.write(tmp_path / "site")


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[fault_disk.Disk]:
    with fault_disk.small(tmp_path / "data", DISK_BYTES) as disk:
        yield disk


@contextlib.contextmanager
def serving(
    folder: pathlib.Path, methods_dir: pathlib.Path, *, min_free_bytes: int = 0
) -> Iterator[calls.Service]:
    flags: dict[str, object] = {"min_free_bytes": min_free_bytes, "retry_first_seconds": 0.1}
    with (
        live_server.as_process(folder, methods_dir, **flags) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield calls.Service(channel)


def no_room(refused: calls.Refusal) -> bool:
    """Whether a call was refused for want of room, with when to come back."""
    told = [
        each for each in refused.status.details if each.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
    ]
    return refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED and len(told) == 1


def test_a_full_disk_refuses_what_is_new_tells_what_is_known_and_recovers(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, disk: fault_disk.Disk
) -> None:
    with serving(tmp_path, methods_dir) as service:
        config = calls.config("parameters", service.upload(b"known\n"), {"row": 1})
        known = service.run(config)
        disk.fill()
        assert no_room(calls.refusal(lambda: service.upload(LARGE)))
        # Batches go on until the database has to grow; then they are refused, and none is lost.
        accepted = []
        with contextlib.suppress(grpc.RpcError):
            for row in range(2, 5_000):
                new = calls.config("parameters", known.file_hash, {"row": row, "text": "x" * 4000})
                accepted.append(service.simulate(new).results[0].job_id)
        assert no_room(calls.refusal(lambda: service.simulate(new)))
        assert service.job(known.job_id).output == known.output
        disk.free()
        assert service.upload(LARGE)
        assert service.run(new).new_status == types_pb2.JOB_STATUS_COMPLETED
        for job_id in accepted:
            ended = service.wait_for_status(job_id, *calls.TERMINAL)
            assert ended.status == types_pb2.JOB_STATUS_COMPLETED, ended.reason


def test_a_job_that_ends_on_a_full_disk_has_its_end_recorded_when_there_is_room(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, disk: fault_disk.Disk
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with serving(tmp_path, methods_dir) as service:
        config = calls.config("hold", service.upload(gate.content))
        job_id = service.simulate(config).results[0].job_id
        process = service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING).engine_job_id
        disk.fill()
        gate.open(b"")
        live_server.wait_for(
            lambda: not pathlib.Path(f"/proc/{process}").exists(), "the process to end"
        )
        disk.free()
        ended = service.wait_for_status(job_id, *calls.TERMINAL)
        assert (ended.status, ended.attempt) == (types_pb2.JOB_STATUS_COMPLETED, 1)


def test_an_output_that_found_no_room_is_no_output(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, disk: fault_disk.Disk
) -> None:
    attempts = disk.folder / "attempts"
    with serving(tmp_path, methods_dir) as service:
        config = calls.config("big", service.upload(b"x"), {"bytes": 4 * MIB})
        disk.fill(but_bytes=MIB)
        job_id = service.ask(config).job_id
        live_server.wait_for(lambda: disk.free_bytes == 0, "the output to fill the disk")
        live_server.wait_for(
            lambda: not live_server.processes_of(attempts), "the method to give up"
        )
        disk.free()
        failed = service.wait_for_status(job_id, *calls.TERMINAL)
        assert failed.status == types_pb2.JOB_STATUS_FAILED
        assert failed.output_hash == ""
        done = service.run(config)
        assert (done.output_size_bytes, done.attempt) == (4 * MIB, 2)
        assert service.download(done.output_hash) == b"x" * (4 * MIB)


def test_below_the_threshold_nothing_is_started_until_there_is_room(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, disk: fault_disk.Disk
) -> None:
    with serving(tmp_path, methods_dir, min_free_bytes=6 * MIB) as service:
        data = service.upload(b"x")
        disk.fill(but_bytes=4 * MIB)
        assert no_room(calls.refusal(lambda: service.upload(LARGE)))
        job_id = service.ask(calls.config("parameters", data, {"row": 1})).job_id
        waited = job_service_pb2.GetJobRequest(
            job_id=job_id, wait=duration_pb2.Duration(seconds=1), known_status=PENDING
        )
        assert service.jobs.GetJob(waited, timeout=60).job.status == PENDING
        disk.free()
        ended = service.wait_for_status(job_id, *calls.TERMINAL)
        assert (ended.status, ended.attempt) == (types_pb2.JOB_STATUS_COMPLETED, 1)
