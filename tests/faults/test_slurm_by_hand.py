"""What people do to jobs in Slurm by hand, beside the service: cancel and suspend them."""

import pathlib
from collections.abc import Iterator

import pytest

from dshpc.v1 import types_pb2
from dshpc_server.engine import port
from dshpc_server.engine.slurm import facts
from support import (
    engine_launches,
    engine_told,
    slurm_cluster,
    slurm_engines,
    slurm_faults,
    slurm_faults_cluster,
)
from support.slurm_cluster import SlurmCluster

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
RUNNING = types_pb2.JOB_STATUS_RUNNING
SUSPENDED = types_pb2.JOB_STATUS_SUSPENDED
_OUTSIDE = "not by this service"


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster that is small enough to be filled."""
    with slurm_cluster.running(cpus=4) as made:
        yield made


def test_a_running_job_that_somebody_cancels_in_slurm_is_not_run_again_by_itself(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    gate = slurm_faults.Gate(tmp_path / "gate")
    with slurm_faults.serving(tmp_path, cluster) as site:
        config = site.gated(gate)
        job = site.start(config)
        cluster.command("scancel", job.slurm_job_id)
        ended = site.wait_for_status(job.job_id, CANCELLED)
        assert _OUTSIDE in ended.reason
        assert ended.attempt == 1

        again = site.service.ask(config)
        assert (again.outcome, again.attempt) == (types_pb2.OUTCOME_RESUBMITTED, 2)
        gate.open(2)
        assert site.wait_for_status(job.job_id, COMPLETED).output == "attempt 2\n"
        assert gate.starts == [1, 2]


def test_a_waiting_job_that_somebody_cancels_in_slurm_has_never_run(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster) as site:
        asked = slurm_faults.counted(1)
        with slurm_faults_cluster.filled(cluster):
            batch = site.ask(asked)
            (task,) = slurm_faults_cluster.wait_for(site.queued, "it to wait in Slurm")
            cluster.command("scancel", task)
            (row,) = site.wait_until_ended(batch)
            assert (row.new_status, row.attempt) == (CANCELLED, 1)
            assert _OUTSIDE in site.service.job(row.job_id).reason
            assert not site.tally.counts().starts

        again = site.ask(asked)
        assert site.rows(again)[0].outcome == types_pb2.OUTCOME_RESUBMITTED
        assert [each.new_status for each in site.wait_until_ended(again)] == [COMPLETED]


def test_a_job_that_is_suspended_in_slurm_is_told_so_and_goes_on_when_it_is_resumed(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    gate = slurm_faults.Gate(tmp_path / "gate")
    with slurm_faults.serving(tmp_path, cluster) as site:
        job = site.start(site.gated(gate))
        cluster.command("scontrol", "suspend", job.slurm_job_id)
        site.wait_for_status(job.job_id, SUSPENDED)
        cluster.command("scontrol", "resume", job.slurm_job_id)
        site.wait_for_status(job.job_id, RUNNING)
        cluster.command("scontrol", "suspend", job.slurm_job_id)
        site.wait_for_status(job.job_id, SUSPENDED)
        gate.open(1)
        cluster.command("scontrol", "resume", job.slurm_job_id)
        ended = site.wait_for_status(job.job_id, COMPLETED)
        assert (ended.output, ended.attempt) == ("attempt 1\n", 1)
    assert gate.starts == [1]


async def test_one_of_many_that_wait_is_told_as_cancelled_though_slurm_forgets_it(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    # By an engine that doubts for a shorter time than a server's.
    launches = engine_launches.Launches(tmp_path / "site")
    engine = slurm_engines.make(tmp_path / "engine", cluster.environment)
    waiting = [launches.acting() for _ in range(3)]
    async with engine_told.running(engine) as told:
        await engine_told.eventually(engine.healthy)
        with slurm_faults_cluster.filled(cluster):
            await engine.submit_many(waiting)
            await engine_told.eventually(lambda: len(_waiting(cluster)) == len(waiting))
            (task,) = (each for each in _waiting(cluster) if each.endswith("_1"))
            cluster.command("scancel", task)
            end = await told.exit_of(waiting[1].key)
        assert (end.cause, end.note) == (port.Cause.CANCELLED, facts.OUTSIDE)
        for other in (waiting[0], waiting[2]):
            assert (await told.exit_of(other.key)).exit_code == 0
    assert [engine_launches.runs_of(each) for each in waiting] == [1, 0, 1]


def _waiting(cluster: SlurmCluster) -> list[str]:
    return cluster.command("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i").split()
