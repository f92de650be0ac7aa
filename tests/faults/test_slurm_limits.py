"""Limits on a real Slurm cluster: of time, of memory, and of what its nodes and partition have."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from dshpc.v1 import types_pb2
from support import calls, slurm_cluster, slurm_faults, slurm_faults_cluster
from support.slurm_cluster import SlurmCluster
from support.slurm_faults import Gate, Site

COMPLETED = types_pb2.JOB_STATUS_COMPLETED
OUT_OF_MEMORY = types_pb2.JOB_STATUS_OUT_OF_MEMORY
TIMEOUT = types_pb2.JOB_STATUS_TIMEOUT
_MIB = 1024 * 1024
_CPUS = 2
_NODE_MB = 1000
_MOST_BYTES = (_NODE_MB - 16) * _MIB
"""What a node has for one job: the wrapper needs some."""
_LONGEST_MINUTES = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster whose partition has a limit of time."""
    partition = "PartitionName=main Nodes=n1,n2 Default=YES State=UP"
    extra = f"{partition} MaxTime={_LONGEST_MINUTES}"
    with slurm_cluster.running(nodes=2, cpus=_CPUS, memory_mb=_NODE_MB, extra=extra) as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cluster: SlurmCluster) -> Iterator[Site]:
    """One server for all of them; its jobs end within a minute when they do not say."""
    folder = tmp_path_factory.mktemp("limits")
    with slurm_faults.serving(folder, cluster, job_timeout_seconds=60) as made:
        yield made


def test_a_job_over_its_time_is_stopped_to_the_second_or_else_by_slurm(
    tmp_path: pathlib.Path, site: Site, cluster: SlurmCluster
) -> None:
    short, long = Gate(tmp_path / "short"), Gate(tmp_path / "long")
    # Slurm looks at its limits every half a minute, and an administrator may change them.
    by_slurm = site.start(site.gated(long, timeout="300s"))
    cluster.command("scontrol", "update", f"JobId={by_slurm.slurm_job_id}", "EndTime=now+1")
    by_wrapper = site.service.run(site.gated(short, timeout="2s"))
    assert by_wrapper.new_status == TIMEOUT
    assert (by_wrapper.signal, by_wrapper.attempt) == (9, 1)

    ended = site.wait_for_status(by_slurm.job_id, *calls.TERMINAL)
    assert (ended.status, ended.signal, ended.attempt) == (TIMEOUT, 9, 1)
    assert short.starts == long.starts == [1]


def test_a_job_over_its_memory_is_stopped_by_its_wrapper(site: Site) -> None:
    _assert_stopped_for_memory(site)


def test_a_job_over_its_memory_is_stopped_by_the_kernel_where_there_are_control_groups(
    tmp_path: pathlib.Path,
) -> None:
    with (
        slurm_cluster.running(nodes=1, cgroups=True) as grouped,
        slurm_faults.serving(tmp_path, grouped) as site,
    ):
        _assert_stopped_for_memory(site)
        assert "oom-kill" in grouped.log()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"resources": {"cpus": 3}}, "resources.cpus: 3 asked, 2 available on the largest node"),
        (
            {"resources": {"memory_bytes": "2000000000"}},
            f"resources.memory_bytes: 2000000000 asked, {_MOST_BYTES} available on the largest",
        ),
        ({"resources": {"gpus": 1}}, "resources.gpus: 1 asked, 0 available on the largest node"),
        ({"timeout": "601s"}, "timeout: 601 s asked, 600 s at most"),
    ],
)
def test_what_no_node_could_ever_run_is_rejected_with_what_there_is(
    site: Site, fields: dict[str, Any], told: str
) -> None:
    config = calls.config("spinning", site.service.upload(b"refused\n"), **fields)
    row = site.service.ask(config)
    assert row.outcome == types_pb2.OUTCOME_REJECTED
    assert told in row.error.message
    assert not site.queued()


def test_what_just_fits_into_a_node_runs(site: Site) -> None:
    resources = {"cpus": _CPUS, "memory_bytes": str(_MOST_BYTES)}
    data = site.service.upload(b"it fits\n")
    config = calls.config(
        "spinning", data, resources=resources, timeout=f"{60 * _LONGEST_MINUTES}s"
    )
    assert site.service.run(config).output == "it fits\n"


def test_a_job_tells_what_it_used_and_where_and_why_it_waits(
    site: Site, cluster: SlurmCluster
) -> None:
    config = calls.config("spinning", site.service.upload(b"measured\n"))
    with slurm_faults_cluster.filled(cluster):
        job_id = site.service.ask(config).job_id
        site.wait_for_reason(job_id, "waits in Slurm: Resources")
        (task,) = site.queued()
        waits = site.service.job(job_id)
        assert (waits.node, waits.slurm_job_id) == ("", task)
        assert waits.attempts[0].slurm_job_id == task
        assert not waits.HasField("start_time")
    job = site.wait_for_status(job_id, *calls.TERMINAL)

    assert (job.status, job.output, job.reason) == (COMPLETED, "measured\n", "")
    assert (job.engine, job.slurm_job_id, job.engine_job_id) == ("slurm", task, task)
    assert job.node in cluster.nodes
    assert slurm_faults.seconds(job.queue_time) > 0
    assert slurm_faults.seconds(job.cpu_time) > 0
    assert job.peak_memory_bytes > _MIB
    assert not job.HasField("packing")
    (attempt,) = job.attempts
    assert (attempt.slurm_job_id, attempt.node) == (task, job.node)
    assert attempt.queue_time == job.queue_time
    assert attempt.cpu_time == job.cpu_time
    assert attempt.peak_memory_bytes == job.peak_memory_bytes


def _assert_stopped_for_memory(site: Site) -> None:
    resources = {"memory_bytes": str(64 * _MIB)}
    data = site.service.upload(b"much\n")
    row = site.service.run(calls.config("eating", data, resources=resources))
    assert (row.new_status, row.signal, row.attempt) == (OUT_OF_MEMORY, 9, 1)
