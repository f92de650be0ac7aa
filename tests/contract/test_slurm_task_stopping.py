"""The wrapper of Slurm's tasks: limits, wishes to cancel, and signals. Without any Slurm."""

import contextlib
import os
import signal

import pytest

from dshpc_server.engine.local import processes
from support import engine_leavings
from support.slurm_task import TASK, Task, until
from support.slurm_task_fixtures import shell, task

__all__ = ["shell", "task"]

MEMORY_BYTES = 96 * 2**20
HOG = "held = bytearray(b'x') * (400 * 2**20); import time; time.sleep(600)"


@pytest.mark.parametrize("limit_seconds", [0.3, 1.2])
def test_one_over_its_time_is_killed(task: Task, limit_seconds: float) -> None:
    jobs = [task.job("trap '' TERM; sleep 600; sleep 600", limit_seconds=limit_seconds)]
    jobs.append(task.job("exit 3"))
    task.run()
    assert (jobs[0].end().signal, jobs[0].end().cause) == (9, "OVER_TIME")
    assert jobs[1].end().exit_code == 3


def test_the_time_of_each_job_is_its_own(task: Task) -> None:
    jobs = [task.job("sleep 0.7", limit_seconds=60) for _ in range(3)]
    last = task.job("sleep 600", limit_seconds=0.5)
    task.run()
    assert [job.end().cause for job in (*jobs, last)] == ["NONE"] * 3 + ["OVER_TIME"]


def test_one_over_its_memory_is_killed(task: Task) -> None:
    jobs = [task.python(HOG, memory_bytes=MEMORY_BYTES), task.job("exit 3")]
    task.run()
    end = jobs[0].end()
    assert (end.signal, end.cause) == (9, "OVER_MEMORY")
    assert end.peak_memory_bytes is not None
    assert end.peak_memory_bytes > MEMORY_BYTES
    assert jobs[1].end().exit_code == 3


@pytest.mark.parametrize("how", ["start_new_session=True, env={}", "start_new_session=False"])
def test_a_child_over_the_memory_ends_the_whole_job(task: Task, how: str) -> None:
    text = f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {HOG!r}], {how}, close_fds=True)
        time.sleep(600)
    """
    job = task.python(text, memory_bytes=MEMORY_BYTES)
    task.run()
    assert (job.end().signal, job.end().cause) == (9, "OVER_MEMORY")


def test_memory_that_is_shared_counts_once(task: Task) -> None:
    text = """
        import os, time
        held = bytearray(b"x") * (50 * 2**20)
        children = [os.fork() for _ in range(1)]
        time.sleep(1.5)
        if 0 not in children:
            os.wait()
    """
    job = task.python(text, memory_bytes=MEMORY_BYTES)
    task.run()
    end = job.end()
    assert (end.exit_code, end.cause) == (0, "NONE")
    assert end.peak_memory_bytes is not None
    assert 50 * 2**20 < end.peak_memory_bytes < MEMORY_BYTES


def test_the_processor_time_is_that_of_the_job(task: Task) -> None:
    text = """
        import os, time
        if (child := os.fork()):
            os.wait()
        begin = time.process_time()
        while time.process_time() - begin < 0.3:
            pass
    """
    jobs = [task.job("true"), task.python(text), task.job("true")]
    task.run()
    used = [job.end().cpu_milliseconds for job in jobs]
    assert used[1] is not None
    assert 600 <= used[1] < 2000
    assert max(used[0] or 0, used[2] or 0) < 200


def test_one_that_was_cancelled_before_it_ran_never_runs(task: Task) -> None:
    jobs = [task.job("echo ran") for _ in range(3)]
    task.cancel(1)
    task.run()
    assert [job.end().cause for job in jobs] == ["NONE", "CANCELLED", "NONE"]
    assert (jobs[1].end().signal, jobs[1].stdout, jobs[1].stderr) == (9, "", "")


def test_one_that_is_cancelled_is_killed_and_the_next_one_runs(task: Task) -> None:
    jobs = [task.job("echo on; sleep 600"), task.job("exit 3")]
    task.start()
    until(lambda: (jobs[0].folder / "stdout").exists() and jobs[0].stdout)
    task.cancel(0)
    task.send(signal.SIGUSR1)
    task.wait()
    assert [(j.end().signal, j.end().cause) for j in jobs] == [(9, "CANCELLED"), (None, "NONE")]


def test_a_wish_to_cancel_is_heeded_without_a_signal_too(task: Task) -> None:
    job = task.job("sleep 600")
    task.start()
    until(job.start)
    task.cancel(0)
    task.wait()
    assert job.end().cause == "CANCELLED"


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
def test_sigterm_ends_the_job_and_nothing_more_is_started(
    task: Task,
    trap: str,
    marked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    jobs = [task.job("exit 1"), task.job(f"{trap} echo on; sleep 600; sleep 600"), task.job("")]
    task.start()
    until(lambda: (jobs[1].folder / "stdout").exists() and jobs[1].stdout)
    main = _main_of(task, 1)
    if marked:
        task.cancel(1)
    with contextlib.suppress(ProcessLookupError):  # the watcher has seen the mark
        os.kill(main, signal.SIGTERM)  # Slurm tells everybody, in no order
    task.send_all(signal.SIGTERM)
    task.wait()
    assert jobs[0].end().exit_code == 1
    assert (jobs[1].end().signal, jobs[1].end().cause) == (
        9,
        "CANCELLED" if marked else "TERMINATED",
    )
    assert jobs[2].start() is None
    assert task.ended() == {f"{TASK}.0", f"{TASK}.1"}


@pytest.mark.parametrize("code", [0, 127, 138, 143])
def test_sigusr1_alone_changes_nothing(task: Task, code: int) -> None:
    jobs = [task.job(f"sleep 0.1; exit {code}") for _ in range(5)]
    task.start()
    until(jobs[0].start)
    while task.is_running():
        task.send(signal.SIGUSR1)
    task.wait()
    ends = [job.end() for job in jobs]
    assert {end.exit_code if end.signal is None else 128 + end.signal for end in ends} == {code}


def test_a_method_may_be_sent_the_signals_that_the_wrapper_ignores(task: Task) -> None:
    job = task.job("kill -USR1 $$; exit 3")
    task.run()
    assert job.end().signal == signal.SIGUSR1


def _main_of(task: Task, position: int) -> int:
    """The process of a job: it leads its session and shows the job's workspace."""
    seen = engine_leavings.processes_of(task.attempts[position].folder)
    (main,) = (pid for pid in seen if (one := processes.look_up(pid)) and one.session == pid)
    return main
