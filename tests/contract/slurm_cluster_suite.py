"""What a Slurm cluster does for the engine (`Cluster`): one suite over real Slurm and a fake.

A module that tests one derives `TestX(SlurmClusterSuite)` and provides the fixture `cluster`: four
nodes of 16 CPUs and 4 GiB with one partition, KillWait 2 s, that others do not use at the moment.
"""

import asyncio
import pathlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contract.slurm_cluster_arrays import (
    LINGERING,
    QUICK,
    SEEING,
    SIGNALLED,
    STUBBORN,
    Arrays,
    Folder,
)
from dshpc_server.engine.slurm.cluster import REST, Cluster, RefusedError, State

_MEBIBYTE = 1024 * 1024


class SlurmClusterSuite:
    """Every test submits arrays of its own."""

    @pytest_asyncio.fixture
    async def arrays(self, cluster: Cluster, tmp_path: pathlib.Path) -> AsyncIterator[Arrays]:
        arrays = Arrays(cluster, tmp_path)
        yield arrays
        await arrays.end()

    async def test_a_submission_is_found_by_its_name_with_every_task(self, arrays: Arrays) -> None:
        array = arrays.make(LINGERING, tasks=3)
        job_id = await arrays.submit(array)
        told = await arrays.told(array, ended=False)
        assert {index: task.job_id for index, task in told.items()} == {
            index: f"{job_id}_{index}" for index in range(3)
        }

    async def test_tasks_wait_run_and_end_and_each_state_is_told(self, arrays: Arrays) -> None:
        array = arrays.make(LINGERING, tasks=3, parallel=1)
        await arrays.submit(array)
        await arrays.until_said(array, "running", [0])
        told = await arrays.told(array, ended=False)
        assert (told[0].state, told[0].reason) == (State.RUNNING, "")
        assert told[0].node
        assert {(told[index].state, told[index].node) for index in (1, 2)} == {(State.PENDING, "")}
        Folder(array.folder).let_go()
        wanted = dict.fromkeys(range(3), State.COMPLETED)
        await arrays.until_states(array, lambda states: states == wanted)
        assert await arrays.states(array, ended=False) == {}

    async def test_a_failed_task_is_told_as_failed_and_not_its_neighbours(
        self, arrays: Arrays
    ) -> None:
        array = arrays.make('[ "$SLURM_ARRAY_TASK_ID" -ne 1 ]', tasks=3)
        await arrays.submit(array)
        wanted = {0: State.COMPLETED, 1: State.FAILED, 2: State.COMPLETED}
        await arrays.until_states(array, lambda states: states == wanted)

    async def test_a_task_sees_its_place_and_nothing_of_the_server(
        self, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DSHPC_SECRET", "canary")
        array = arrays.make(SEEING, tasks=2)
        job_id = await arrays.submit(array)
        array.script.unlink()  # it was copied
        await arrays.until_said(array, "seen", [0, 1])
        for index in range(2):
            seen = Folder(array.folder).text(f"seen.{index}").splitlines()
            assert f"SLURM_ARRAY_JOB_ID={job_id}" in seen
            assert f"SLURM_ARRAY_TASK_ID={index}" in seen
            assert f"SLURM_JOB_NAME={array.name}" in seen
            assert any(line.startswith("SLURMD_NODENAME=n") for line in seen)
            assert seen[-4:] == [str(array.folder), *["/dev/null"] * 3]
            assert not any("canary" in line for line in seen)

    async def test_no_more_tasks_run_at_a_time_than_the_array_allows(self, arrays: Arrays) -> None:
        array = arrays.make(LINGERING, tasks=5, parallel=2)
        await arrays.submit(array)
        await arrays.until_said(array, "running", [0, 1])
        states = list((await arrays.states(array)).values())
        assert (states.count(State.RUNNING), states.count(State.PENDING)) == (2, 3)

    async def test_a_signal_is_sent_to_the_shell_alone_of_a_task_that_is_watched_late(
        self, arrays: Arrays
    ) -> None:
        array = arrays.make(SIGNALLED, tasks=2, is_watched_late=True)
        await arrays.submit(array)
        # The real one looks every half a minute.
        await arrays.until_said(array, "told", [0, 1])
        folder = Folder(array.folder)
        folder.let_go()
        wanted = dict.fromkeys(range(2), State.COMPLETED)
        await arrays.until_states(array, lambda states: states == wanted)
        assert [folder.text(f"told.{index}") for index in range(2)] == ["late\n"] * 2
        assert not folder.said("child")

    async def test_a_running_task_that_is_cancelled_is_asked_first_and_told_as_cancelled(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array = arrays.make(LINGERING, tasks=2)
        job_id = await arrays.submit(array)
        await arrays.until_said(array, "running", [0, 1])
        await cluster.cancel([f"{job_id}_0"])
        await arrays.until_states(array, lambda states: states[0] == State.CANCELLED)
        assert Folder(array.folder).said("asked") == {0}
        assert (await arrays.states(array))[1] == State.RUNNING

    async def test_a_task_that_does_not_listen_is_killed_and_completing_until_then(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array = arrays.make(STUBBORN)
        job_id = await arrays.submit(array)
        await arrays.until_said(array, "running", [0])
        await cluster.cancel([job_id])
        assert await arrays.states(array, ended=False) == {0: State.COMPLETING}
        await arrays.until_states(array, lambda states: states == {0: State.CANCELLED})

    async def test_waiting_tasks_that_are_cancelled_leave_no_record_while_others_wait(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array = arrays.make(LINGERING, tasks=8, parallel=1)
        job_id = await arrays.submit(array)
        await arrays.until_said(array, "running", [0])
        await cluster.cancel([f"{job_id}_{index}" for index in (2, 3, 4, 6)])
        assert (await arrays.states(array)).keys() == {0, 1, 5, 7}
        await cluster.cancel([f"{job_id}_{index}" for index in (1, 5, 7)])
        states = await arrays.states(array)
        assert states == {0: State.RUNNING, REST: State.CANCELLED}

    async def test_the_last_that_waits_and_is_cancelled_leaves_a_record_of_no_task(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array, job_id = await arrays.submit_waiting(tasks=3)
        await cluster.cancel([f"{job_id}_1"])
        assert await arrays.states(array) == dict.fromkeys([0, 2], State.PENDING)
        await cluster.cancel([f"{job_id}_0"])
        assert await arrays.states(array) == {2: State.PENDING}
        await cluster.cancel([f"{job_id}_2"])
        assert await arrays.states(array) == {REST: State.CANCELLED}

    async def test_a_whole_array_that_waits_and_is_cancelled_by_its_id_is_told_task_by_task(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array, job_id = await arrays.submit_waiting(tasks=3)
        await cluster.cancel([f"{job_id}_1"])
        await cluster.cancel([job_id])
        assert await arrays.states(array) == dict.fromkeys([0, 2], State.CANCELLED)

    async def test_a_whole_array_is_cancelled_by_its_id(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        array = arrays.make(LINGERING, tasks=4, parallel=1)
        job_id = await arrays.submit(array)
        await arrays.until_said(array, "running", [0])
        await cluster.cancel([job_id])
        wanted = dict.fromkeys(range(4), State.CANCELLED)
        await arrays.until_states(array, lambda states: states == wanted)
        assert Folder(array.folder).said("running") == {0}

    async def test_to_cancel_what_is_unknown_or_over_is_nothing(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        over, lasting = arrays.make(QUICK), arrays.make(LINGERING)
        over_id, lasting_id = await arrays.submit(over), await arrays.submit(lasting)
        await arrays.until_states(over, lambda states: states == {0: State.COMPLETED})
        await arrays.until_said(lasting, "running", [0])
        gone = [f"{over_id}_0", f"{lasting_id}_99", "999999_3", "999999"]
        await cluster.cancel(gone)
        assert await arrays.states(over) == {0: State.COMPLETED}
        assert await arrays.states(lasting) == {0: State.RUNNING}

    @pytest.mark.parametrize(("cpus", "megabytes"), [(1, 1_000_000), (17, 16)])
    async def test_what_no_node_has_is_refused_and_kept_as_failed(
        self, arrays: Arrays, cpus: int, megabytes: int
    ) -> None:
        array = arrays.make(QUICK, tasks=2, cpus=cpus, megabytes=megabytes)
        with pytest.raises(RefusedError) as refused:
            await arrays.submit(array)
        assert refused.value.is_permanent
        assert "node configuration is not available" in refused.value.reason
        told = await arrays.told(array)
        assert {(task.state, task.reason) for task in told.values()} == {
            (State.FAILED, "BadConstraints")
        }
        assert await arrays.told(array, ended=False) == {}

    async def test_more_tasks_than_the_cluster_allows_in_an_array_are_refused(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        limits = await cluster.limits()
        array = arrays.make(QUICK, tasks=limits.max_array_tasks + 1)
        with pytest.raises(RefusedError) as refused:
            await arrays.submit(array)
        assert refused.value.is_permanent
        assert await arrays.told(array) == {}

    async def test_the_limits_are_those_of_the_cluster(self, cluster: Cluster) -> None:
        limits = await cluster.limits()
        assert limits.max_array_tasks > 1000
        assert limits.max_jobs >= 10_000
        assert limits.booted_at is not None

    async def test_the_partition_is_told_with_its_nodes(self, cluster: Cluster) -> None:
        partition = await cluster.partition()
        (node,) = partition.nodes
        assert (node.cpus, node.memory_bytes, node.gpus) == (16, 4096 * _MEBIBYTE, 0)
        assert (partition.cpus, partition.memory_bytes) == (64, 4 * 4096 * _MEBIBYTE)
        assert partition.longest_seconds is None

    async def test_jobs_of_other_names_are_passed_over(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        ours, other = arrays.make(LINGERING), arrays.make(LINGERING, prefix="other-")
        await arrays.submit(other)
        await arrays.submit(ours)
        names = {task.name for task in await cluster.tasks(ended=True)}
        assert ours.name in names
        assert other.name not in names

    async def test_calls_at_the_same_time_do_not_disturb_each_other(
        self, arrays: Arrays, cluster: Cluster
    ) -> None:
        made = [arrays.make(QUICK, tasks=2) for _ in range(8)]
        ids, *_ = await asyncio.gather(
            asyncio.gather(*(arrays.submit(array) for array in made)),
            asyncio.gather(*(cluster.tasks(ended=True) for _ in range(4))),
            asyncio.gather(*(cluster.limits() for _ in range(4))),
        )
        assert len(set(ids)) == len(made)
        wanted = dict.fromkeys(range(2), State.COMPLETED)
        for array in made:
            await arrays.until_states(array, lambda states: states == wanted)
            assert Folder(array.folder).said("done") == {0, 1}
