"""docs/troubleshooting.md: what one sees on a Slurm cluster; here it is a fake one.

Every symptom is provoked, and what is seen then holds the words of the page.
"""

import pathlib
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import types_pb2
from support import calls, documents_symptoms, fake_slurm, live_server, site
from support.fake_slurm import FakeSlurm
from support.live_server import ServerProcess

SYMPTOMS = documents_symptoms.Symptoms("On a Slurm cluster")
UNTESTED: dict[str, str] = {}
CONFIGURING = types_pb2.JOB_STATUS_CONFIGURING
RUNNING = types_pb2.JOB_STATUS_RUNNING


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSlurm]:
    """A cluster with four nodes of 16 cores, whose partition allows an hour."""
    with fake_slurm.running(tmp_path_factory.mktemp("slurm"), longest_minutes=60) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, slurm: FakeSlurm) -> Iterator[ServerProcess]:
    """A server on it that tries nothing again."""
    methods_dir = site.write(tmp_path_factory.mktemp("site"))
    folder = tmp_path_factory.mktemp("server")
    told = {name: slurm.environment[name] for name in ("PATH", "SLURM_CONF")}
    with live_server.as_process(
        folder, methods_dir, told, engine="slurm", max_retries=0, pack_below_seconds=0
    ) as process:
        yield process


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Iterator[calls.Service]:
    """Everything that it offers."""
    with grpc.insecure_channel(server.address) as channel:
        yield calls.Service(channel)


def show(server: ServerProcess, job_id: str) -> str:
    return documents_symptoms.said(documents_symptoms.dshpc(server.address, "job", "show", job_id))


def hold(service: calls.Service, gate: site.Gate) -> str:
    """Start a job that goes on until its gate is opened, or something ends it; its id."""
    job_id: str = service.ask(calls.config("hold", service.upload(gate.content))).job_id
    service.wait_for_status(job_id, RUNNING)
    return job_id


def slurm_id(service: calls.Service, job_id: str) -> str:
    found: str = service.job(job_id).slurm_job_id
    return found


@SYMPTOMS.about("The cluster does not answer")
def test_a_controller_that_is_gone(
    slurm: FakeSlurm, server: ServerProcess, service: calls.Service
) -> str:
    def is_told(event: str) -> bool:
        return f'"event": "{event}"' in server.log.read_text()

    slurm.down()
    job_id = service.ask(calls.config("no_input")).job_id
    live_server.wait_for(lambda: is_told("engine.no_controller"), "the controller to be missed")
    seen = show(server, job_id)
    slurm.up()
    live_server.wait_for(lambda: is_told("engine.controller"), "the controller to be back")
    return server.log.read_text() + seen


@SYMPTOMS.about("What no node has")
def test_jobs_that_no_node_can_run(service: calls.Service) -> str:
    rows = service.simulate(
        calls.config("no_input", resources={"cpus": 99}),
        calls.config("no_input", resources={"memory_bytes": 2**40}),
        calls.config("no_input", resources={"gpus": 1}),
        calls.config("no_input", timeout="7200s"),
    ).results
    assert {row.outcome for row in rows} == {types_pb2.OUTCOME_REJECTED}
    return "\n".join(row.message for row in rows)


@SYMPTOMS.about("CONFIGURING, and it stays so")
def test_a_job_that_waits_in_the_queue(
    slurm: FakeSlurm, server: ServerProcess, service: calls.Service
) -> str:
    slurm.hold()
    try:
        job_id = service.ask(calls.config("echo", service.upload(b"waits"))).job_id
        service.wait_for_status(job_id, CONFIGURING)
        live_server.wait_for(
            lambda: ": " in service.job(job_id).reason, "it to be told why it waits"
        )
        return show(server, job_id)
    finally:
        slurm.release()


@SYMPTOMS.about("Slurm refuses the job")
def test_a_job_that_sbatch_refuses(
    slurm: FakeSlurm, server: ServerProcess, service: calls.Service
) -> str:
    slurm.refuse()
    job_id = service.ask(calls.config("echo", service.upload(b"refused"))).job_id
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_BOOT_FAIL)
    live_server.wait_for(lambda: "engine.refused" in server.log.read_text(), "it to be logged")
    return server.log.read_text() + show(server, job_id)


@SYMPTOMS.about("Somebody cancelled it in Slurm")
def test_a_job_that_is_cancelled_by_scancel(
    slurm: FakeSlurm, server: ServerProcess, service: calls.Service, tmp_path: pathlib.Path
) -> str:
    slurm.restart(ago_seconds=3600)  # lately, it might have been the controller itself
    job_id = hold(service, site.Gate(tmp_path / "gate"))
    slurm.end(slurm_id(service, job_id), "CANCELLED")
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_CANCELLED)
    return show(server, job_id)


@SYMPTOMS.about("A job is lost on the cluster")
def test_a_job_whose_node_is_lost(
    slurm: FakeSlurm, server: ServerProcess, service: calls.Service, tmp_path: pathlib.Path
) -> str:
    gate = site.Gate(tmp_path / "gate")
    job_id = hold(service, gate)
    slurm.end(slurm_id(service, job_id), "NODE_FAIL")
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_NODE_FAIL)
    gate.open()  # its process is still there
    return show(server, job_id)


def test_every_symptom_of_this_chapter_is_provoked() -> None:
    SYMPTOMS.check_complete(UNTESTED)
