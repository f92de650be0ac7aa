"""Nothing of a job runs once its end is on record; and nothing else is touched."""

import pathlib
import signal
import subprocess
import sys

import pytest

from dshpc_server.engine.local import processes
from support import engine_leavings, slurm_task
from support.slurm_task import TASK, Task, until
from support.slurm_task_fixtures import shell, task

__all__ = ["shell", "task"]

# Each says that it is there by a file with its number, and heeds no SIGTERM.
STAY = """trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 600"""
WAYS = {
    "plain": f"sh -c '{STAY}' \"$PWD/way\" &",
    "session": f"setsid sh -c '{STAY}' \"$PWD/way\" &",
    "orphan": f"(setsid sh -c '{STAY}' \"$PWD/way\" &)",
    "hidden": f'(setsid env -i "PATH=$PATH" sh -c \'{STAY}\' "$PWD/way" &)',
    "daemon": f'(cd /; setsid env -i "PATH=$PATH" sh -c \'{STAY}\' "$OLDPWD/way"'
    " </dev/null >/dev/null 2>&1 &)",
    "grandchild": f'(setsid env -i "PATH=$PATH" "PWD=$PWD" sh -c \'(setsid sh -c "$0" "$1" &)\' '
    f"'{STAY}' \"$PWD/way\" </dev/null >/dev/null 2>&1 &)",
}


@pytest.mark.parametrize("ending", ["exit", "exit after many", "time", "cancel", "term"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("others", [0, 1])
def test_nothing_is_left_of_a_job_once_its_end_is_on_record(
    task: Task, way: str, ending: str, others: int
) -> None:
    last = "exit 5" if ending.startswith("exit") else "sleep 600"
    first = f"for one in {'one ' * 60}; do (:); done" if ending == "exit after many" else ""
    job = task.job(
        f"""
        trap '' TERM
        {first}
        cd "$JOB_WORKSPACE"
        {WAYS[way]}
        until [ -e way ]; do :; done
        {last}
        """,
        limit_seconds=1.5 if ending == "time" else 60,
    )
    for _ in range(others):
        task.job("true")
    task.start()
    until((job.workspace / "way").exists)
    if ending == "cancel":
        task.cancel(0)
    elif ending == "term":
        task.send_all(signal.SIGTERM)
    until((job.folder / "exit").exists)
    left = processes.look_up(int((job.workspace / "way").read_text()))
    task.wait()
    assert left is None
    assert (
        job.end().cause
        == {
            "exit": "NONE",
            "exit after many": "NONE",
            "time": "OVER_TIME",
            "cancel": "CANCELLED",
            "term": "TERMINATED",
        }[ending]
    )


def test_many_that_stay_are_all_ended(task: Task) -> None:
    text = """
        import os, sys, time
        for number in range(300):
            if not os.fork():
                os.setsid()
                time.sleep(600)
    """
    job = task.python(text)
    task.run()
    assert job.end().exit_code == 0


def test_a_zombie_is_nothing_that_is_left(task: Task) -> None:
    job = task.python("import os, time; os.fork() or os._exit(0); time.sleep(1.5)")
    task.run()
    assert job.end().exit_code == 0


def test_the_jobs_of_other_tasks_are_let_alone(task: Task, tmp_path: pathlib.Path) -> None:
    other = Task(tmp_path / "other")
    stays = other.job("sleep 600")
    other.start()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        until(stays.start)
        for number in range(5):
            task.job("sleep 600 & exit 3" if number % 2 else "true")
        task.run()
        assert stays.start() is not None
        assert not (stays.folder / "exit").exists()
        assert stranger.poll() is None
        assert other.is_running()
        other.send(signal.SIGTERM)
        other.wait()
        assert stays.end().cause == "TERMINATED"
    finally:
        stranger.kill()
        stranger.wait()
        other.close()


def test_the_wrapper_leaves_nothing_of_its_own(task: Task) -> None:
    for _ in range(3):
        task.job("true")
    task.run()
    until(lambda: not _wrappers_of(task))


def test_a_wrapper_that_is_killed_leaves_no_watcher(task: Task) -> None:
    job = task.job("echo on; sleep 600")
    task.start()
    until(lambda: (job.folder / "stdout").exists() and job.stdout)
    task.send(signal.SIGKILL)
    until(lambda: not task.is_running())
    until(lambda: not _wrappers_of(task))
    assert engine_leavings.processes_of(job.folder)  # whom Slurm kills, where it can
    for process in map(processes.look_up, engine_leavings.processes_of(job.folder)):
        if process is not None:
            processes.kill([process])


def _wrappers_of(task: Task) -> list[int]:
    """What lives of the wrapper's own session."""
    return [pid for pid, process in processes.table().items() if process.session == task.pid]


def test_all_of_a_task_is_on_record_in_order(task: Task) -> None:
    jobs = [task.job(f"exit {number}") for number in range(20)]
    task.run()
    ends = [job.end() for job in jobs]
    assert [end.exit_code for end in ends] == list(range(20))
    assert [end.ended_at for end in ends] == sorted(end.ended_at for end in ends)
    assert task.ended() == {f"{TASK}.{number}" for number in range(20)}
    assert slurm_task.JOB_ID in {end.slurm_job_id for end in ends}
