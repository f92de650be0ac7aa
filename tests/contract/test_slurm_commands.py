"""Slurm's commands as the engine uses them, on a real cluster that answers."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from dshpc_server.domain.job import Resources
from dshpc_server.engine.slurm import cluster, command_line, states
from dshpc_server.engine.slurm.cluster import State, Task
from support.slurm_arrays import array, told
from support.slurm_cluster import SlurmCluster
from support.slurm_fixtures import slurm_cluster

__all__ = ["slurm_cluster"]

_FOREVER = "exec sleep 1000"


@pytest.fixture
async def commands(slurm_cluster: SlurmCluster) -> AsyncIterator[cluster.Cluster]:
    yield command_line.CommandLine(environment=slurm_cluster.environment)
    await asyncio.to_thread(slurm_cluster.end_jobs)


def _are(*expected: State) -> Callable[[Sequence[Task]], bool]:
    return lambda tasks: [task.state for task in tasks] == list(expected)


async def test_an_array_is_told_task_by_task(
    commands: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER, tasks=5, parallel=2)

    job_id = await commands.submit(sent)

    expected = [State.RUNNING] * 2 + [State.PENDING] * 3
    tasks = await told(commands, sent.name, _are(*expected))
    assert [task.job_id for task in tasks] == [f"{job_id}_{index}" for index in range(5)]
    assert {task.node for task in tasks[:2]} <= {"n1", "n2", "n3", "n4"}
    assert {(task.node, task.reason) for task in tasks[2:]} == {("", "JobArrayTaskLimit")}


async def test_the_script_is_given_its_folder_and_nothing_of_the_servers_environment(
    commands: cluster.Cluster, slurm_cluster: SlurmCluster, tmp_path: pathlib.Path
) -> None:
    secretive = slurm_cluster.environment | {"DSHPC_TOKEN": "secret", "SBATCH_PARTITION": "nope"}
    sent = array(tmp_path, 'pwd > "$1/pwd"; env > "$1/env"')

    await command_line.CommandLine(environment=secretive).submit(sent)

    await told(commands, sent.name, _are(State.COMPLETED))
    assert (tmp_path / "pwd").read_text() == f"{tmp_path}\n"
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert seen["SLURM_ARRAY_TASK_ID"] == "0"
    assert seen["SLURM_JOB_NAME"] == sent.name
    assert not {"DSHPC_TOKEN", "SBATCH_PARTITION"} & seen.keys()


async def test_what_a_task_needs_is_what_it_gets(
    commands: cluster.Cluster, slurm_cluster: SlurmCluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER, cpus=3, memory_bytes=100 * 2**20 + 1, minutes=7)

    job_id = await commands.submit(sent)

    words = slurm_cluster.command("scontrol", "show", "job", job_id).split()
    assert "TRES=cpu=3,mem=101M,node=1,billing=3" in words
    assert "TimeLimit=00:07:00" in words
    assert "Requeue=0" in words


@pytest.mark.usefixtures("commands")
async def test_the_administrators_options_have_the_last_word(
    slurm_cluster: SlurmCluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER)
    optional = command_line.CommandLine(
        environment=slurm_cluster.environment,
        partition=slurm_cluster.partition,
        options=["--comment=from the site", "--time=9"],
    )

    job_id = await optional.submit(sent)

    shown = slurm_cluster.command("scontrol", "show", "job", job_id)
    assert "Comment=from the site" in shown
    assert "TimeLimit=00:09:00" in shown
    assert "Partition=main" in shown


async def test_what_is_cancelled_goes_waiting_or_running_and_the_rest_stays(
    commands: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER, tasks=6, parallel=3)
    job_id = await commands.submit(sent)
    await told(commands, sent.name, lambda tasks: tasks[2].state is State.RUNNING)

    await commands.cancel([f"{job_id}_{index}" for index in (0, 1, 4)])

    tasks = await told(
        commands,
        sent.name,
        lambda tasks: all(task.index != 4 and task.state in states.ENDED for task in tasks[:2]),
    )
    assert _are(State.CANCELLED, State.CANCELLED)(tasks[:2])
    assert {task.index for task in tasks if task.state not in states.ENDED} == {2, 3, 5}


async def test_to_cancel_what_is_unknown_or_over_is_no_error(
    commands: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, "exit 0")
    job_id = await commands.submit(sent)
    await told(commands, sent.name, _are(State.COMPLETED))

    await commands.cancel([f"{job_id}_0", f"{job_id}_7", "99999_3", "99998"])
    await commands.cancel([])

    tasks = await told(commands, sent.name, bool)
    assert _are(State.COMPLETED)(tasks)


async def test_what_no_node_has_is_refused_for_good_and_leaves_a_failed_record(
    commands: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER, memory_bytes=2**40, tasks=2)

    with pytest.raises(cluster.RefusedError, match="node configuration") as refused:
        await commands.submit(sent)

    assert refused.value.is_permanent
    tasks = await told(commands, sent.name, bool)
    assert _are(State.FAILED, State.FAILED)(tasks)
    assert {task.reason for task in tasks} == {states.REFUSED_REASON}


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "nope"},
        {"options": ["--gres=gpu:1"]},
        {"options": ["--time=soon"]},
        {"options": ["--no-such-option"]},
        {"options": ["--array=0-100001"]},
        {"options": ["--nodelist=elsewhere"]},
    ],
)
async def test_what_the_cluster_does_not_know_is_refused_for_good(
    slurm_cluster: SlurmCluster, tmp_path: pathlib.Path, options: dict[str, object]
) -> None:
    commands = command_line.CommandLine(environment=slurm_cluster.environment, **options)  # type: ignore[arg-type] # a table

    with pytest.raises(cluster.RefusedError) as refused:
        await commands.submit(array(tmp_path, _FOREVER))

    assert refused.value.is_permanent


async def test_a_script_that_is_gone_is_refused_for_good(
    commands: cluster.Cluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER)
    sent.script.unlink()

    with pytest.raises(cluster.RefusedError, match="Unable to open file"):
        await commands.submit(sent)


async def test_jobs_of_others_are_passed_over_whatever_they_are_called(
    commands: cluster.Cluster, slurm_cluster: SlurmCluster, tmp_path: pathlib.Path
) -> None:
    sent = array(tmp_path, _FOREVER)
    for name in ("a|b|c|dshpc-x|d", "two\nlines", "12|0|RUNNING|n1", "%j"):
        slurm_cluster.command("sbatch", f"--job-name={name}", "-o/dev/null", str(sent.script))
    await commands.submit(sent)

    assert {task.name for task in await commands.tasks(ended=False)} == {sent.name}


async def test_a_queue_without_anything_of_ours_is_empty(commands: cluster.Cluster) -> None:
    assert await commands.tasks(ended=False) == []


async def test_ten_thousand_waiting_tasks_are_told_one_by_one(
    commands: cluster.Cluster, slurm_cluster: SlurmCluster, tmp_path: pathlib.Path
) -> None:
    held = command_line.CommandLine(environment=slurm_cluster.environment, options=["--hold"])
    sent = array(tmp_path, _FOREVER, tasks=10_000)

    job_id = await held.submit(sent)
    tasks = await commands.tasks(ended=False)
    await commands.cancel([f"{job_id}_{index}" for index in range(0, 10_000, 2)])
    left = await commands.tasks(ended=False)

    assert sorted(task.index for task in tasks) == list(range(10_000))
    assert sorted(task.index for task in left) == list(range(1, 10_000, 2))


async def test_the_limits_are_those_of_the_cluster(commands: cluster.Cluster) -> None:
    found = await commands.limits()

    assert found.max_array_tasks == 100_001
    assert found.max_jobs == 200_000
    assert not found.has_accounting
    assert found.booted_at is not None


async def test_the_partition_has_what_its_nodes_have(commands: cluster.Cluster) -> None:
    assert await commands.partition() == cluster.Partition(
        nodes=[Resources(cpus=16, memory_bytes=4 * 2**30)],
        cpus=64,
        memory_bytes=16 * 2**30,
        gpus=0,
        longest_seconds=None,
    )


async def test_a_partition_that_is_not_there_tells_nothing(slurm_cluster: SlurmCluster) -> None:
    environment = slurm_cluster.environment
    commands = command_line.CommandLine(environment=environment, partition="nope")

    with pytest.raises(cluster.UnreachableError, match="no partition 'nope'"):
        await commands.partition()
