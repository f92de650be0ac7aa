"""Slurm's commands on clusters of other kinds: full ones, with GPUs, control groups, accounting."""

import asyncio
import pathlib
from collections.abc import Callable, Sequence

import pytest

from dshpc_server.domain.job import Resources
from dshpc_server.engine.slurm import cluster, command_line
from dshpc_server.engine.slurm.cluster import State, Task
from support import slurm_cluster
from support.slurm_arrays import accounted, array, told

_FOREVER = "exec sleep 1000"
_EATING = """exec python3 -c 'x = b"x" * 300_000_000; input()' </dev/zero"""
# Long enough for its memory to be looked at, which is once in a second.
_WORKING = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 2; exit 3"


def _are(*expected: State) -> Callable[[Sequence[Task]], bool]:
    return lambda tasks: [task.state for task in tasks] == list(expected)


async def test_a_full_queue_is_a_refusal_for_the_moment_and_nothing_is_taken(
    tmp_path: pathlib.Path,
) -> None:
    with slurm_cluster.running(nodes=1, extra="MaxJobCount=4\nMinJobAge=2") as made:
        commands = command_line.CommandLine(environment=made.environment)
        first, second = (array(tmp_path, _FOREVER, tasks=3) for _ in range(2))
        job_id = await commands.submit(first)

        with pytest.raises(cluster.RefusedError, match="temporarily unable") as refused:
            await commands.submit(second)

        assert not refused.value.is_permanent
        assert refused.value.is_too_large
        assert {task.job_id for task in await commands.tasks(ended=True)} == {
            f"{job_id}_{index}" for index in range(3)
        }


async def test_nodes_that_are_down_or_drained_count() -> None:
    with slurm_cluster.running(nodes=3, cpus=2, memory_mb=512) as made:
        commands = command_line.CommandLine(environment=made.environment)
        made.command("scontrol", "update", "nodename=n1", "state=down", "reason=test")
        made.command("scontrol", "update", "nodename=n2", "state=drain", "reason=test")

        found = await commands.partition()

        assert (found.cpus, found.memory_bytes) == (6, 3 * 512 * 2**20)
        assert found.nodes == [Resources(cpus=2, memory_bytes=512 * 2**20)]


async def test_a_partition_with_a_limit_is_asked_for_and_told(tmp_path: pathlib.Path) -> None:
    extra = "PartitionName=short Nodes=n1 MaxTime=90\nPartitionName=hidden Nodes=n2 Hidden=YES"
    with slurm_cluster.running(nodes=2, extra=f"{extra}\nEnforcePartLimits=ALL") as made:
        short, hidden = (
            command_line.CommandLine(environment=made.environment, partition=name)
            for name in ("short", "hidden")
        )

        assert (await short.partition()).longest_seconds == 90 * 60.0
        assert (await hidden.partition()).cpus == 16
        with pytest.raises(cluster.RefusedError, match="time limit") as refused:
            await short.submit(array(tmp_path, _FOREVER, minutes=91))
        assert refused.value.is_permanent
        sent = array(tmp_path, _FOREVER)
        await hidden.submit(sent)
        assert len(await told(short, sent.name, bool)) == 1


async def test_gpus_are_counted_and_given_out(tmp_path: pathlib.Path) -> None:
    with slurm_cluster.running(nodes=2, gpus=2) as made:
        commands = command_line.CommandLine(environment=made.environment)
        sent = array(tmp_path, _FOREVER, tasks=4, gpus=2)

        found = await commands.partition()
        await commands.submit(sent)

        assert found.gpus == 4
        assert {node.gpus for node in found.nodes} == {2}
        running, waiting = [State.RUNNING] * 2, [State.PENDING] * 2
        await told(commands, sent.name, _are(*running, *waiting))


async def test_a_task_over_its_memory_is_told_as_such_where_there_are_control_groups(
    tmp_path: pathlib.Path,
) -> None:
    with slurm_cluster.running(nodes=1, cgroups=True) as made:
        commands = command_line.CommandLine(environment=made.environment)
        sent = array(tmp_path, _EATING, memory_bytes=50 * 2**20)

        await commands.submit(sent)

        await told(commands, sent.name, _are(State.OUT_OF_MEMORY))


async def test_accounting_tells_what_tasks_have_used(tmp_path: pathlib.Path) -> None:
    with slurm_cluster.running(nodes=1, accounting=True) as made:
        commands = command_line.CommandLine(environment=made.environment)
        sent, other = array(tmp_path, _WORKING, tasks=2), array(tmp_path, _WORKING)

        assert (await commands.limits()).has_accounting
        await asyncio.gather(commands.submit(sent), commands.submit(other))

        rows = await accounted(
            commands,
            sent.name,
            lambda rows: len(rows) == 2 and all(row.state is State.FAILED for row in rows),
        )
        assert [row.index for row in rows] == [0, 1]
        for row in rows:
            assert row.accounted is not None
            assert row.accounted.cpu_seconds
            assert row.accounted.peak_memory_bytes
            assert row.accounted.ended_at
