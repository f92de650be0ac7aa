"""Nodes of a Slurm cluster that are lost while jobs run there."""

import pathlib
from collections.abc import Iterator

import pytest

from dshpc.v1 import types_pb2
from support import slurm_cluster, slurm_faults, slurm_faults_cluster
from support.slurm_cluster import SlurmCluster

COMPLETED = types_pb2.JOB_STATUS_COMPLETED
NODE_FAIL = types_pb2.JOB_STATUS_NODE_FAIL
RUNNING = types_pb2.JOB_STATUS_RUNNING


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster that may be broken, and gives up a node soon."""
    with slurm_cluster.running(cpus=4, extra="SlurmdTimeout=5\nMessageTimeout=3") as made:
        yield made


def test_a_job_whose_node_is_lost_runs_on_another_and_what_the_old_process_writes_is_ignored(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    gate = slurm_faults.Gate(tmp_path / "gate")
    with slurm_faults.serving(tmp_path, cluster) as site:
        config = site.gated(gate)
        first = site.start(config)
        cluster.kill_node(first.node)
        slurm_faults_cluster.wait_for(lambda: is_down(cluster, first.node), "it to be given up")
        # Slurm is asked seldom while nothing changes, and at once when there is something new.
        site.ask(slurm_faults.counted(1))
        slurm_faults_cluster.wait_for(lambda: gate.starts == [1, 2], "the second attempt to run")
        second = site.wait_for_status(first.job_id, RUNNING)
        # The first process lives, and comes to its end before the second does.
        late = site.attempt_dir(first.job_id, 1) / "exit"
        assert not late.exists()
        gate.open(1)
        slurm_faults_cluster.wait_for(late.exists, "the end of the old process")
        assert (site.attempt_dir(first.job_id, 1) / "stdout").read_text() == "attempt 1\n"
        assert site.service.job(first.job_id).status == RUNNING
        gate.open(2)
        ended = site.wait_for_status(first.job_id, COMPLETED)
        cluster.start_node(first.node)

        assert (ended.output, ended.attempt) == ("attempt 2\n", 2)
        assert [attempt.status for attempt in ended.attempts] == [NODE_FAIL, COMPLETED]
        assert ended.attempts[0].node == first.node != second.node
        assert "NODE_FAIL" in ended.attempts[0].reason
        assert site.service.ask(config).output == "attempt 2\n"


def is_down(cluster: SlurmCluster, node: str) -> bool:
    """Whether the controller has given up a node."""
    return "down" in cluster.command("sinfo", "-h", "-N", "-n", node, "-o", "%T")
