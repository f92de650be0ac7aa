"""What a task's disk may be like: full for a while, or without hard links."""

import pathlib
import signal
from collections.abc import Iterator

import pytest

from support import fault_disk
from support.slurm_task import TASK, Task, until
from support.slurm_task_fixtures import shell

__all__ = ["shell"]

DISK_BYTES = 4 * 2**20


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[fault_disk.Disk]:
    with fault_disk.small(tmp_path / "disk", DISK_BYTES) as disk:
        yield disk


@pytest.fixture
def task(shell: str, disk: fault_disk.Disk) -> Iterator[Task]:
    task = Task(disk.folder / "site", sh=shell)
    yield task
    task.close()


def test_an_end_comes_on_record_when_there_is_room_again(task: Task, disk: fault_disk.Disk) -> None:
    jobs = [task.job('until [ -e "$JOB_WORKSPACE/go" ]; do sleep 0.01; done; exit 5')]
    jobs.append(task.job("exit 3"))
    task.start()
    until((jobs[0].folder / "stdout").exists)
    disk.fill()
    (jobs[0].workspace / "go").touch()  # an empty file finds room
    until((jobs[0].folder / "exit.new").exists)
    assert not (jobs[0].folder / "exit").exists()
    assert jobs[1].start() is None
    disk.free()
    task.wait()
    assert [job.end().exit_code for job in jobs] == [5, 3]
    assert task.ended() == {f"{TASK}.0", f"{TASK}.1"}


def test_what_is_to_start_on_a_full_disk_waits_for_room_and_runs_once(
    task: Task, disk: fault_disk.Disk, tmp_path: pathlib.Path
) -> None:
    runs = tmp_path / "runs"
    job = task.job(f"echo ran >>{runs}; exit 5")
    task.write()
    disk.fill()
    task.start()
    until((job.folder / "start").exists)
    disk.free()
    task.wait()
    assert runs.read_text() == "ran\n"
    assert job.end().exit_code == 5


def test_what_waits_for_room_is_ended_by_sigterm(
    task: Task, disk: fault_disk.Disk, tmp_path: pathlib.Path
) -> None:
    runs = tmp_path / "runs"
    job = task.job(f"echo ran >>{runs}")
    task.write()
    disk.fill()
    task.start()
    until((job.folder / "start").exists)
    task.send(signal.SIGTERM)
    until((job.folder / "exit.new").exists)
    disk.free()
    task.wait()
    assert not runs.exists()
    assert job.end().cause == "TERMINATED"


def test_a_limit_is_heeded_on_a_full_disk(task: Task, disk: fault_disk.Disk) -> None:
    job = task.job("sleep 600", limit_seconds=1.5)
    task.start()
    until((job.folder / "stdout").exists)
    disk.fill()
    until((job.folder / "exit.new").exists)
    disk.free()
    task.wait()
    assert job.end().cause == "OVER_TIME"


def test_an_end_comes_on_record_without_hard_links(task: Task) -> None:
    refusing = task.folder / "bin" / "ln"
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    job = task.job("exit 3")
    task.run()
    assert job.end().exit_code == 3
    assert not (job.folder / "exit.new").exists()
