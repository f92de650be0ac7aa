"""Slurm's controller is killed, and is away for a while: nothing is lost, nothing runs twice."""

import datetime
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from dshpc.v1 import types_pb2
from support import slurm_cluster, slurm_faults, slurm_faults_cluster
from support.slurm_cluster import SlurmCluster

COMPLETED = types_pb2.JOB_STATUS_COMPLETED
PENDING = types_pb2.JOB_STATUS_PENDING
CONFIGURING = types_pb2.JOB_STATUS_CONFIGURING
_JOBS = 24
_PATIENCE_SECONDS = 5
_OUTAGE_SECONDS = 30.0
"""Longer than the daemons wait for each other."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A cluster that may be broken: with room for two thirds of the jobs of a batch."""
    extra = "".join(f"{name}Timeout={_PATIENCE_SECONDS}\n" for name in ("Slurmd", "Slurmctld"))
    with slurm_cluster.running(cpus=_JOBS // 6, extra=f"{extra}MessageTimeout=3") as made:
        yield made


@pytest.mark.parametrize("pack_below_seconds", [0, 5], ids=["in-slurms-queue", "in-ours"])
def test_what_a_controller_forgets_that_is_killed_soon_after_is_found_or_run_again(
    tmp_path: pathlib.Path, cluster: SlurmCluster, pack_below_seconds: float
) -> None:
    # Where nothing is packed all are in Slurm by then; else some follow when it has forgotten ids.
    with slurm_faults.serving(tmp_path, cluster, pack_below_seconds=pack_below_seconds) as site:
        batch = site.ask(*(slurm_faults.counted(n, seconds=4) for n in range(_JOBS)))
        # About two seconds after the batch: some run, some wait, and Slurm has saved little of it.
        slurm_faults_cluster.wait_for(lambda: site.tally.counts().starts, "the first job to run")
        with slurm_faults_cluster.controller_down(cluster):
            pass
        # It drains nodes where it would start what it does not know to run there already.
        rows = site.wait_until_ended(batch, lambda: slurm_faults_cluster.put_back_nodes(cluster))

        assert [row for row in rows if row.new_status != COMPLETED] == []
        # How many it forgets is a matter of chance; each of them costs one attempt at most.
        site.assert_whole(batch, may_be_lost=_JOBS)


def test_while_the_controller_is_away_ends_are_taken_in_and_batches_wait(
    tmp_path: pathlib.Path, cluster: SlurmCluster
) -> None:
    with slurm_faults.serving(tmp_path, cluster) as site:
        before = site.ask(slurm_faults.counted(0))
        site.wait_until_ended(before)
        lengths = [_OUTAGE_SECONDS * n / 4 for n in range(1, 4)]
        running = site.ask(
            *(slurm_faults.counted(n, seconds=each) for n, each in enumerate(lengths, start=1))
        )
        slurm_faults_cluster.wait_for(lambda: site.tally.counts().starts.total() == 4, "all to run")
        # What it forgets is the matter of the other test.
        slurm_faults_cluster.wait_until_saved(cluster)

        with slurm_faults_cluster.controller_down(cluster):
            site.wait_until_engine(serves=False)
            again = site.ask(slurm_faults.counted(0))
            assert [row.outcome for row in site.rows(again)] == [types_pb2.OUTCOME_FOUND_COMPLETED]
            assert site.service.job(site.rows(again)[0].job_id).status == COMPLETED
            after = site.ask(*(slurm_faults.counted(n) for n in range(4, 9)))
            for row in site.rows(after):
                site.wait_for_reason(row.job_id, "Slurm's controller does not answer")
                assert site.service.job(row.job_id).status in (PENDING, CONFIGURING)
            ended = site.wait_until_ended(running)
            assert {row.new_status for row in ended} == {COMPLETED}
            began_at = _moment(*_logged(site, "engine.no_controller")[:1])
            slurm_faults_cluster.wait_for(
                lambda: (_look_up_at(site) - began_at).total_seconds() >= _OUTAGE_SECONDS,
                "the outage to have lasted",
            )
            assert not site.is_engine_serving()
        site.wait_until_engine(serves=True)
        site.wait_until_ended(after)

        (over,) = _logged(site, "engine.controller")
        assert over["seconds"] >= _OUTAGE_SECONDS
        site.assert_whole(before, again, running, after)
        assert set(site.tally.counts().starts.values()) == {1}


def _look_up_at(site: slurm_faults.Site) -> datetime.datetime:
    """When the server, by its own clock, answers a batch whose result it has."""
    answer = site.service.simulate(slurm_faults.counted(0).config())
    assert [row.new_status for row in answer.results] == [COMPLETED]
    answered_at: datetime.datetime = answer.statistics.as_of.ToDatetime(tzinfo=datetime.UTC)
    return answered_at


def _logged(site: slurm_faults.Site, event: str) -> list[dict[str, Any]]:
    """The lines of the server's log about this."""
    lines = [json.loads(line) for line in site.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def _moment(line: dict[str, Any]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(line["timestamp"])
