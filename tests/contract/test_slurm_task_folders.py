"""The wrapper of Slurm's tasks: what it finds in folders, and who was there before it."""

import os
import shutil
from collections.abc import Callable

import pytest

from support import slurm_task
from support.slurm_task import TASK, Task
from support.slurm_task_fixtures import shell, task

__all__ = ["shell", "task"]


@pytest.mark.parametrize("kind", ["file", "link", "folder", "fifo"])
def test_what_has_a_start_already_is_left_alone(task: Task, kind: str) -> None:
    jobs = [task.job("echo ran"), task.job("exit 3")]
    start = jobs[0].folder / "start"
    makers: dict[str, Callable[[], object]] = {
        "file": start.touch,
        "link": lambda: start.symlink_to("nowhere"),
        "folder": start.mkdir,
        "fifo": lambda: os.mkfifo(start),
    }
    makers[kind]()
    before = sorted(jobs[0].folder.iterdir())
    task.run()
    assert sorted(jobs[0].folder.iterdir()) == before
    assert jobs[1].end().exit_code == 3
    assert task.ended() == {f"{TASK}.1"}


def test_an_attempt_whose_folder_is_gone_is_left_alone(task: Task) -> None:
    jobs = [task.job("echo ran"), task.job("exit 3")]
    shutil.rmtree(jobs[0].folder)
    task.run()
    assert not jobs[0].folder.exists()
    assert jobs[1].end().exit_code == 3


def test_two_wrappers_of_the_same_task_run_each_job_once(task: Task) -> None:
    runs = task.folder / "runs"
    for _ in range(20):
        task.job(f"echo run >>{runs}")
    task.start()
    twin = task.twin()
    task.wait()
    assert twin.wait(slurm_task.DEADLINE_SECONDS) == 0
    assert runs.read_text() == "run\n" * 20
    assert {job.end().exit_code for job in task.attempts} == {0}


@pytest.mark.parametrize(
    "deed",
    [
        "rm -f ../start",
        "echo forged >../exit",
        "echo forged >../exit.new",
        "mkdir -p ../exit/deep ../exit.new/deep",
        "mkfifo ../exit ../exit.new",
        "ln -s /nowhere/at/all ../exit; ln -s /nowhere ../exit.new",
        'ln -s "$JOB_WORKSPACE" ../exit',
        "rm -rf ../stdout ../stderr ../workspace",
        "chmod 0 ..",
    ],
)
@pytest.mark.parametrize("others", [0, 1])
def test_what_a_method_does_to_its_folder_does_not_keep_its_end_off_the_record(
    task: Task, deed: str, others: int
) -> None:
    job = task.job(f'cd "$JOB_WORKSPACE"; {deed}; exit 5')
    for _ in range(others):
        task.job("true")
    task.run()
    assert job.end().exit_code == 5
    assert f"{TASK}.0" in task.ended()


def test_a_method_that_removes_its_folder_is_told_to_have_ended(task: Task) -> None:
    jobs = [task.job('rm -rf "${JOB_WORKSPACE%/*}"; exit 5'), task.job("exit 3")]
    task.run()
    assert not jobs[0].folder.exists()
    assert jobs[1].end().exit_code == 3
    assert task.ended() == {f"{TASK}.0", f"{TASK}.1"}
