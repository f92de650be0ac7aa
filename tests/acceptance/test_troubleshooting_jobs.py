"""docs/troubleshooting.md: rows that are rejected, and jobs that do not complete.

Every symptom is provoked, and what is seen then holds the words of the page.
"""

import os
import pathlib
import signal
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, documents_symptoms, live_server, site

SYMPTOMS = documents_symptoms.Symptoms("A row is REJECTED", "A job does not complete")
UNTESTED: dict[str, str] = {}
LIMITS = {
    "max_parameters_bytes": 200,
    "max_parameters_nodes": 20,
    "max_parameters_depth": 3,
    "max_attempts": 2,
    "job_memory_bytes": 100_000_000,
}


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and some that end badly."""
    made = site.write(tmp_path_factory.mktemp("site"))
    site.install(made, "sleeps", "sleep 600", timeout_seconds=1)
    site.install(made, "eats_memory", 'x=$(head -c 400000000 /dev/zero | tr "\\0" x); echo ${#x}')
    site.install(made, "no_such_command", "", command="surely-not-installed")
    return made


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path) -> Iterator[str]:
    """A server with two cores and low limits."""
    folder = tmp_path_factory.mktemp("server")
    with live_server.in_thread(live_server.settings(folder, methods_dir, **LIMITS)) as address:
        yield address


@pytest.fixture(scope="module")
def service(address: str) -> Iterator[calls.Service]:
    """Everything that it offers."""
    with grpc.insecure_channel(address) as channel:
        yield calls.Service(channel)


@pytest.fixture(scope="module")
def data(service: calls.Service) -> str:
    """Some input."""
    return service.upload(b"input\n")


def rejected(service: calls.Service, reason: str, *configs: types_pb2.JobConfig) -> str:
    """What rows say that are rejected for this reason, which is the symptom's name."""
    rows = service.simulate(*configs).results
    for row in rows:
        assert row.outcome == types_pb2.OUTCOME_REJECTED
        info = error_details_pb2.ErrorInfo()
        assert row.error.details[0].Unpack(info)
        assert info.reason == reason
    return "\n".join(row.message for row in rows)


@SYMPTOMS.about("METHOD_NOT_FOUND")
def test_a_method_that_is_not_there(service: calls.Service, data: str) -> str:
    pinned = calls.config("echo", data, function_hash="0" * 64)
    return rejected(service, "METHOD_NOT_FOUND", calls.config("nope", data), pinned)


@SYMPTOMS.about("FILE_NOT_FOUND")
def test_a_file_that_is_not_there(service: calls.Service) -> str:
    return rejected(service, "FILE_NOT_FOUND", calls.config("echo", "0" * 64))


@SYMPTOMS.about("INVALID_PARAMETERS")
def test_parameters_that_do_not_fit(service: calls.Service, data: str) -> str:
    return rejected(
        service,
        "INVALID_PARAMETERS",
        calls.config("declared", data, {"bins": "many", "labl": "a"}),
        calls.config("echo", data, {"a": "x" * 300}),
        calls.config("echo", data, {"a": list(range(30))}),
        calls.config("echo", data, {"a": [[[[1]]]]}),
    )


@SYMPTOMS.about("INVALID_INPUTS")
def test_inputs_of_other_names(service: calls.Service, data: str) -> str:
    return rejected(service, "INVALID_INPUTS", calls.config("two_inputs", data))


@SYMPTOMS.about("INVALID_CONFIG")
def test_a_malformed_config(service: calls.Service, data: str) -> str:
    long = calls.config("echo", data, timeout="100000000s")
    return rejected(service, "INVALID_CONFIG", calls.config("echo", "xyz"), long)


@SYMPTOMS.about("RESOURCES_UNAVAILABLE")
def test_more_cores_than_there_are(service: calls.Service, data: str) -> str:
    large = calls.config("echo", data, resources={"cpus": 99})
    return rejected(service, "RESOURCES_UNAVAILABLE", large)


@SYMPTOMS.about("FAILURE_KEPT: an earlier failure is the answer")
def test_a_failure_that_is_kept(service: calls.Service) -> str:
    config = calls.config("exit", service.upload(b"kept\n"), {"code": 78})
    for _ in range(LIMITS["max_attempts"]):
        service.run(config)
    kept = [
        service.ask(config),
        service.ask(config, resubmit_policy=types_pb2.RESUBMIT_POLICY_RETRIABLE),
        service.ask(config, resubmit_policy=types_pb2.RESUBMIT_POLICY_NEVER),
        service.ask(config, cache_policy=types_pb2.CACHE_POLICY_ONLY),
    ]
    assert {row.outcome for row in kept} == {types_pb2.OUTCOME_FAILURE_KEPT}
    return "\n".join(row.message for row in kept)


@SYMPTOMS.about("PENDING, and it stays so")
def test_a_job_that_waits(service: calls.Service, address: str, tmp_path: pathlib.Path) -> str:
    with documents_symptoms.held(service, tmp_path):
        # One core is taken, so one that wants two waits.
        waiting = calls.config("no_input", resources={"cpus": 2})
        job_id = service.ask(waiting).job_id
        return documents_symptoms.said(documents_symptoms.dshpc(address, "job", "show", job_id))


def failed(service: calls.Service, status: str, *configs: types_pb2.JobConfig) -> str:
    """What the errors of jobs say that end in this status, which is the symptom's name."""
    rows = service.simulate(*configs, finished=True).results
    assert {types_pb2.JobStatus.Name(row.new_status) for row in rows} == {f"JOB_STATUS_{status}"}
    return "\n".join(row.error.message for row in rows)


@SYMPTOMS.about("FAILED")
def test_jobs_that_fail(service: calls.Service, data: str) -> str:
    exits = [calls.config("exit", data, {"code": code}) for code in (3, 75, 78)]
    return failed(service, "FAILED", *exits, calls.config("die", data, {"signal": "KILL"}))


@SYMPTOMS.about("TIMEOUT")
def test_a_job_over_its_time(service: calls.Service, data: str) -> str:
    return failed(service, "TIMEOUT", calls.config("sleeps", data))


@SYMPTOMS.about("OUT_OF_MEMORY")
def test_a_job_over_its_memory(service: calls.Service, data: str) -> str:
    return failed(service, "OUT_OF_MEMORY", calls.config("eats_memory", data))


@SYMPTOMS.about("BOOT_FAIL")
def test_a_command_that_is_not_there(service: calls.Service, data: str) -> str:
    return failed(service, "BOOT_FAIL", calls.config("no_such_command", data))


@SYMPTOMS.about("NODE_FAIL")
def test_a_job_whose_runner_is_killed(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> str:
    with (
        live_server.as_process(tmp_path, methods_dir, max_retries=0) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        service = calls.Service(channel)
        site.Gate(tmp_path / "gate")
        held = calls.config("hold", service.upload(os.fsencode(tmp_path / "gate")))
        job_id = service.ask(held).job_id
        service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        (runner,) = [
            number
            for number in live_server.processes_of(server.data_dir)
            if b"engine.local.runner" in pathlib.Path(f"/proc/{number}/cmdline").read_bytes()
        ]
        os.kill(runner, signal.SIGKILL)
        message: str = service.wait_for_status(job_id, types_pb2.JOB_STATUS_NODE_FAIL).error.message
        return message


@SYMPTOMS.about("CANCELLED, and it was not me")
def test_a_job_that_somebody_cancelled(
    service: calls.Service, address: str, tmp_path: pathlib.Path
) -> str:
    site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(os.fsencode(tmp_path / "gate")))
    job_id = service.ask(held).job_id
    reason = "the disk was nearly full"
    service.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=job_id, reason=reason))
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_CANCELLED)
    return documents_symptoms.said(documents_symptoms.dshpc(address, "job", "show", job_id))


@SYMPTOMS.about("The output is not there, or cut")
def test_an_output_that_is_long(service: calls.Service, data: str) -> str:
    row = service.run(calls.config("big", data, {"bytes": 70_000}))
    return json_format.MessageToJson(row, preserving_proto_field_name=True)


@SYMPTOMS.about("The new code was not run")
def test_a_method_whose_hash_is_as_it_was(service: calls.Service, data: str) -> str:
    config = calls.config("echo", data)
    service.run(config)
    return service.ask(config).message


def test_every_symptom_of_these_chapters_is_provoked() -> None:
    SYMPTOMS.check_complete(UNTESTED)
