"""Cancelling over the wire: every process of the job is gone, and the job says why."""

import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import code_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, job_calls, live_server, site


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and one whose jobs have children everywhere."""
    made = site.write(tmp_path_factory.mktemp("site"))
    site.install(made, "family", job_calls.FAMILY)
    return made


def running_family(
    service: calls.Service, folder: pathlib.Path
) -> tuple[str, list[int], types_pb2.JobConfig]:
    family = job_calls.Family(folder / "pids")
    config = calls.config("family", service.upload(family.content))
    job_id = service.ask(config).job_id
    pids = family.pids()
    assert job_calls.alive(pids) == pids
    return job_id, pids, config


def test_cancelling_ends_every_process_of_the_job(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    job_id, pids, config = running_family(service, tmp_path)
    job = job_calls.cancel(service, job_id, "no longer needed")
    assert job.status == types_pb2.JOB_STATUS_CANCELLED
    assert job_calls.alive(pids) == []
    assert job.reason == "Cancelled: no longer needed"
    assert job.error.code == code_pb2.CANCELLED
    assert (job.HasField("signal"), job.signal) == (True, signal.SIGKILL)
    assert not job.HasField("exit_code")
    assert not job.HasField("output")
    (attempt,) = job.attempts
    assert (attempt.status, attempt.reason) == (job.status, job.reason)
    assert job_calls.cancel(service, job_id, "once more") == job
    (row,) = service.simulate(config, validate_only=True).results
    assert row.outcome == types_pb2.OUTCOME_RESUBMITTED
    assert row.old_status == types_pb2.JOB_STATUS_CANCELLED


def test_everybody_who_waits_is_told_of_a_cancelled_job(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    stream = service.stream(config)
    assert next(stream).HasField("accepted")
    job_id = service.ask(config).job_id
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
    asked = job_service_pb2.GetJobRequest(job_id=job_id, wait=job_calls.duration(60))
    waiting = service.jobs.GetJob.future(asked, timeout=60)
    job_calls.cancel(service, job_id, "enough")
    assert waiting.result().job.reason == "Cancelled: enough"
    result, closing = list(stream)
    assert result.result.new_status == types_pb2.JOB_STATUS_CANCELLED
    assert result.result.error.message.startswith("Cancelled: enough")
    assert closing.statistics.cancelled_jobs == 1
    assert closing.statistics.final


def test_without_a_reason_it_is_just_cancelled(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    job_id, pids, _ = running_family(service, tmp_path)
    assert job_calls.cancel(service, job_id).reason == "Cancelled"
    assert job_calls.alive(pids) == []


def test_many_who_cancel_at_once_get_one_answer(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    job_id, pids, _ = running_family(service, tmp_path)
    futures = [
        service.jobs.CancelJob.future(
            job_service_pb2.CancelJobRequest(job_id=job_id, reason=f"reason {n}"), timeout=60
        )
        for n in range(20)
    ]
    jobs = [each.result().job for each in futures]
    assert {job.status for job in jobs} == {types_pb2.JOB_STATUS_CANCELLED}
    assert len({job.reason for job in jobs}) == 1
    assert job_calls.alive(pids) == []


def test_a_job_that_waits_behind_others_never_runs_once_it_is_cancelled(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    settings = live_server.settings(tmp_path, methods_dir, slots=1)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        service = calls.Service(channel)
        gate = site.Gate(tmp_path / "gate")
        running = service.ask(calls.config("hold", service.upload(gate.content))).job_id
        service.wait_for_status(running, types_pb2.JOB_STATUS_RUNNING)
        tally = site.Tally(tmp_path / "tally")
        queued = calls.config("tally", service.upload(tally.content), {"code": 0})
        job_id = service.ask(queued).job_id
        job = job_calls.cancel(service, job_id, "changed my mind")
        assert job.status == types_pb2.JOB_STATUS_CANCELLED
        assert job.reason == "Cancelled: changed my mind"
        assert not job.HasField("start_time")
        assert job.HasField("end_time")
        assert job_calls.log_bytes(service, job_id, follow=True) == b""
        last = service.ask(calls.config("no_input")).job_id
        gate.open()
        assert job_calls.get(service, last, 60).status == types_pb2.JOB_STATUS_COMPLETED
        assert tally.runs == 0
        again = service.run(queued)
        assert again.outcome == types_pb2.OUTCOME_RESUBMITTED
        assert again.old_status == types_pb2.JOB_STATUS_CANCELLED
        assert (again.new_status, again.attempt) == (types_pb2.JOB_STATUS_COMPLETED, 2)
        assert tally.runs == 1


def test_a_completed_job_stays_completed(service: calls.Service) -> None:
    done = service.run(calls.config("echo", service.upload(b"done\n")))
    job = job_calls.cancel(service, done.job_id, "too late")
    assert (job.status, job.output, job.reason) == (types_pb2.JOB_STATUS_COMPLETED, "done\n", "")
    again = service.run(calls.config("echo", service.upload(b"done\n")))
    assert again.outcome == types_pb2.OUTCOME_FOUND_COMPLETED


def test_jobs_that_are_cancelled_as_they_start_end_and_leave_no_process(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    """Wherever each is by then: queued, claimed, handed over, running."""
    data = service.upload(str(tmp_path / "nothing").encode())
    rows = service.simulate(
        *(calls.config("die", data, {"signal": "STOP", "row": row}) for row in range(12))
    ).results
    names = [row.job_id for row in rows]
    futures = [
        service.jobs.CancelJob.future(
            job_service_pb2.CancelJobRequest(job_id=name, reason="all of you"), timeout=60
        )
        for name in names
    ]
    for future in futures:
        future.result()
    for name in names:
        job = job_calls.get(service, name, 60)
        assert job.status == types_pb2.JOB_STATUS_CANCELLED
        assert job.reason == "Cancelled: all of you"


def test_what_cannot_be_cancelled_is_refused(service: calls.Service) -> None:
    for asked, code, named in [
        ({"job_id": "a" * 64}, grpc.StatusCode.NOT_FOUND, "job"),
        ({"job_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "job_id"),
        ({"job_id": "a" * 64, "reason": "x" * 257}, grpc.StatusCode.INVALID_ARGUMENT, "reason"),
    ]:
        request = job_service_pb2.CancelJobRequest(**asked)
        refused = job_calls.refused(service.jobs.CancelJob, request)
        assert refused.code == code
        assert named in refused.text


def test_a_cancel_survives_a_killed_server(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    """The runner is stopped meanwhile, so that the end cannot be recorded before the kill."""
    with live_server.as_process(tmp_path, methods_dir) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            job_id, pids, config = running_family(service, tmp_path)
            with stopped_runner(first.data_dir):
                job = job_calls.cancel(service, job_id, "before the kill", timeout=2)
                assert job.status == types_pb2.JOB_STATUS_RUNNING
                assert job.reason == "Stopping: before the kill"
                first.stop(signal.SIGKILL)
        with (
            live_server.as_process(tmp_path, methods_dir) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            job = job_calls.get(service, job_id, 60)
            assert job.status == types_pb2.JOB_STATUS_CANCELLED
            assert job.reason == "Cancelled: before the kill"
            assert job_calls.alive(pids) == []
            again = service.ask(config, validate_only=True)
            assert again.outcome == types_pb2.OUTCOME_RESUBMITTED
            assert again.old_status == types_pb2.JOB_STATUS_CANCELLED


@contextlib.contextmanager
def stopped_runner(data_dir: pathlib.Path) -> Iterator[None]:
    """Have the runner of this data folder do nothing for a while."""
    (runner,) = [
        pid
        for pid in live_server.processes_of(data_dir)
        if b"dshpc_server.engine.local" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(runner, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(runner, signal.SIGCONT)
