"""What Slurm's controller has forgotten altogether, and accounting has not."""

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from dshpc_server.engine import port
from support import (
    engine_launches,
    engine_told,
    slurm_cluster,
    slurm_engines,
    slurm_faults_cluster,
)
from support.slurm_cluster import SlurmCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster with accounting that may be broken."""
    with slurm_cluster.running(nodes=1, accounting=True) as made:
        yield made


async def test_an_end_that_the_controller_forgot_is_told_as_accounting_has_it(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    launch = engine_launches.Launches(tmp_path / "site").acting(sleep_seconds=600)
    first = slurm_engines.make(tmp_path / "engine", cluster.environment)
    async with engine_told.running(first) as told:
        await first.submit_many([launch])
        start = await told.start_of(launch.key)

    slurm_faults_cluster.wait_for(lambda: engine_launches.runs_of(launch) == 1, "it to run")
    # Nobody looks while it ends; then the controller loses all that it has saved.
    node = f"NodeName={cluster.nodes[0]}"
    cluster.command("scontrol", "update", node, "State=DOWN", "Reason=tested")
    task = start.engine_job_id
    slurm_faults_cluster.wait_for(
        lambda: "NODE_FAIL" in _accounted(cluster, task), "it to be on record"
    )
    with slurm_faults_cluster.controller_down(cluster):
        shutil.rmtree(cluster.folder / "state")
        (cluster.folder / "state").mkdir()
    assert not cluster.command("squeue", "-h", "-t", "all")

    second = slurm_engines.make(tmp_path / "engine", cluster.environment)
    async with engine_told.running(second) as told:
        await second.recover([(launch.key, launch.folder)])
        end = await told.end_of(launch.key)
    assert isinstance(end, port.Lost)
    assert "NODE_FAIL" in end.reason
    assert engine_launches.runs_of(launch) == 1


def _accounted(cluster: SlurmCluster, task: str) -> str:
    return cluster.command("sacct", "-n", "-X", "-P", "-j", task, "-o", "state")
