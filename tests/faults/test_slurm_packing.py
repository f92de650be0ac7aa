"""Short jobs that share tasks on a real Slurm cluster: the results say so, each is its own job."""

import pathlib
from collections.abc import Iterator, Sequence

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from support import slurm_cluster, slurm_faults
from support.fault_tally import Mode
from support.slurm_cluster import SlurmCluster

CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
RUNNING = types_pb2.JOB_STATUS_RUNNING
_CPUS = 4
_JOBS = 16
"""Four to a task, so that each processor has one task."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster with few processors: what each could have one of is not packed."""
    with slurm_cluster.running(nodes=2, cpus=_CPUS // 2) as made:
        yield made


def test_jobs_that_are_declared_to_be_short_share_tasks_and_say_so(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster, expected_seconds=0.1) as site:
        batch = site.ask(*(slurm_faults.counted(n) for n in range(_JOBS)))
        rows = site.wait_until_ended(batch)
        assert {row.new_status for row in rows} == {COMPLETED}
        assert _packings(rows) == {(_JOBS // _CPUS, types_pb2.PACKING_BASIS_DECLARED)}
        jobs = [site.service.job(row.job_id) for row in rows]
        assert len({job.slurm_job_id for job in jobs}) == _CPUS
        assert {job.packing.jobs for job in jobs} == {_JOBS // _CPUS}
        site.assert_whole(batch)

        one = site.ask(slurm_faults.counted(_JOBS))
        assert not site.wait_until_ended(one)[0].HasField("packing")


def test_jobs_that_were_seen_to_be_short_share_tasks_and_say_so(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster) as site:
        first = site.ask(*(slurm_faults.counted(n) for n in range(5)))
        assert not any(row.HasField("packing") for row in site.wait_until_ended(first))
        second = site.ask(*(slurm_faults.counted(n) for n in range(10, 10 + _JOBS)))
        rows = site.wait_until_ended(second)
        assert _packings(rows) == {(_JOBS // _CPUS, types_pb2.PACKING_BASIS_OBSERVED)}
        site.assert_whole(first, second)


def test_of_a_batch_the_first_jobs_show_that_the_others_are_short(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster) as site:
        batch = site.ask(*(slurm_faults.counted(n) for n in range(5 + _JOBS)))
        rows = site.wait_until_ended(batch)
        assert not any(row.HasField("packing") for row in rows[:5])
        assert _packings(rows[5:]) == {(_JOBS // _CPUS, types_pb2.PACKING_BASIS_OBSERVED)}
        site.assert_whole(batch)


def test_a_packed_job_is_cancelled_alone_and_the_others_of_its_task_complete(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster, expected_seconds=0.1) as site:
        asked = [slurm_faults.counted(n) for n in range(_JOBS)]
        asked[0] = slurm_faults.counted(0, mode=Mode.STOP)
        batch = site.ask(*asked)
        stopped = site.rows(batch)[0].job_id
        task = site.wait_for_status(stopped, RUNNING).slurm_job_id
        site.service.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=stopped), timeout=60)
        rows = site.wait_until_ended(batch)

        assert [row.new_status for row in rows] == [CANCELLED] + [COMPLETED] * (_JOBS - 1)
        together = [site.service.job(row.job_id).slurm_job_id for row in rows]
        assert together.count(task) == _JOBS // _CPUS
        site.assert_whole(batch)


def _packings(rows: Sequence[types_pb2.MultiJobResult]) -> set[tuple[int, int]]:
    return {(row.packing.jobs, row.packing.basis) for row in rows}
