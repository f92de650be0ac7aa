"""The cluster that tests run on keeps its promises."""

import os
import pathlib

import pytest

from dshpc_server.engine.slurm import command_line
from dshpc_server.engine.slurm.cluster import State
from support import slurm_cluster, slurm_processes
from support.slurm_arrays import array, told

_ORPHANING = 'sh -c "echo \\$\\$ > $1/pid; exec sleep 1000" & wait'


async def test_nothing_is_left_of_a_cluster_with_jobs(tmp_path: pathlib.Path) -> None:
    with slurm_cluster.running(nodes=2) as made:
        commands = command_line.CommandLine(environment=made.environment)
        await commands.submit(sent := array(tmp_path, _ORPHANING, tasks=3))
        await told(commands, sent.name, lambda tasks: tasks[2].state is State.RUNNING)
        # Of each task who looks after it, the script, and the method.
        assert slurm_processes.until(lambda: len(jobs_of(made)) >= 9)
        assert slurm_processes.until((tmp_path / "pid").exists)
        jobs, daemons = jobs_of(made), list(made.pids.values())

    assert not [pid for pid in [*daemons, *jobs] if slurm_processes.is_alive(pid)]
    assert not made.folder.exists()


def jobs_of(cluster: slurm_cluster.SlurmCluster) -> set[int]:
    """The processes of its jobs."""
    return slurm_processes.jobs_of(cluster.folder / "slurm.conf")


async def test_a_job_outlives_its_nodes_daemon(tmp_path: pathlib.Path) -> None:
    with slurm_cluster.running(nodes=1) as made:
        commands = command_line.CommandLine(environment=made.environment)
        await commands.submit(sent := array(tmp_path, _ORPHANING))
        await told(commands, sent.name, lambda tasks: tasks[0].state is State.RUNNING)
        assert slurm_processes.until(lambda: bool((tmp_path / "pid").exists()))
        assert slurm_processes.until(lambda: bool((tmp_path / "pid").read_text()))
        pid = int((tmp_path / "pid").read_text())

        made.kill_node("n1")

        assert slurm_processes.is_alive(pid)
        made.start_node("n1")
        made.await_nodes()
        assert slurm_processes.is_alive(pid)
    assert not slurm_processes.is_alive(pid)


def test_a_controller_that_is_started_again_knows_its_nodes() -> None:
    with slurm_cluster.running(nodes=2) as made:
        made.stop_controller()
        assert "slurmctld" not in made.pids
        made.start_controller()
        made.await_nodes()


def test_a_setting_takes_the_place_of_the_one_there_is() -> None:
    with slurm_cluster.running(nodes=1, extra="MinJobAge=7") as made:
        assert "MinJobAge               = 7 sec" in made.command("scontrol", "show", "config")


def test_nothing_listens_beyond_this_machine() -> None:
    with slurm_cluster.running(nodes=1) as made:
        ours = {f"socket:[{number}]" for number in _listening_elsewhere()}
        held = {
            str(file.readlink())
            for pid in made.pids.values()
            for file in pathlib.Path(f"/proc/{pid}/fd").iterdir()
        }
        assert any(name.startswith("socket:") for name in held)
        assert not ours & held


def test_it_runs_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("DSHPC_TEST_REQUIRE", raising=False)

    with pytest.raises(pytest.skip.Exception, match="run as root"), slurm_cluster.running():
        pass


def _listening_elsewhere() -> set[str]:
    """The inodes of TCP sockets that listen on anything but 127.0.0.1."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    loopback = "0100007F"
    listening = "0A"
    return {row[9] for row in rows if row[3] == listening and row[1].split(":")[0] != loopback}
