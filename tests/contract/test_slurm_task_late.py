"""The wrapper of Slurm's tasks where it looks after its jobs only when Slurm tells it to."""

import pathlib
import signal

import pytest

from support.slurm_task import Attempt, Task, until
from support.slurm_task_fixtures import late, shell

__all__ = ["late", "shell"]

BEHIND_A_GATE = 'echo begun; until [ -e "$JOB_WORKSPACE/gate" ]; do sleep 0.05; done; '


def test_jobs_run_as_they_do_with_a_watcher(late: Task) -> None:
    jobs = [late.job("echo out; echo err >&2; exit 3"), late.job("kill -KILL $$")]
    late.run()
    assert [(job.end().exit_code, job.end().signal) for job in jobs] == [(3, None), (None, 9)]
    assert (jobs[0].stdout, jobs[0].stderr) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 127, 151])
@pytest.mark.parametrize("times", [1, 3])
def test_a_job_does_not_notice_that_its_wrapper_is_told(late: Task, code: int, times: int) -> None:
    job = late.job("trap 'echo told' URG; " + BEHIND_A_GATE + f"exit {code}")
    late.start()
    until(lambda: has_begun(job))
    for _ in range(times):
        late.send(signal.SIGURG)
        until(lambda: is_watched(late))
    (job.workspace / "gate").touch()
    late.wait()
    end = job.end()
    # A shell tells no code above 128 from a signal: 151 is SIGURG.
    assert (end.exit_code, end.signal) == ((None, 23) if code == 151 else (code, None))
    assert job.stdout == "begun\n"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_that_ends_as_if_by_that_signal_is_told_so(late: Task, moment: str) -> None:
    job = late.job(BEHIND_A_GATE + "exit 151")
    late.start()
    until(lambda: has_begun(job))
    if moment == "before":
        late.send(signal.SIGURG)
    (job.workspace / "gate").touch()
    if moment == "after":
        late.send(signal.SIGURG)
    late.wait()
    assert (job.end().exit_code, job.end().signal) == (None, signal.SIGURG)


def test_from_then_on_its_limits_are_kept(late: Task) -> None:
    job = late.job("echo begun; sleep 600", limit_seconds=1.5)
    late.start()
    until(lambda: has_begun(job))
    late.send(signal.SIGURG)
    late.wait()
    assert (job.end().signal, job.end().cause) == (9, "OVER_TIME")


def test_from_then_on_a_wish_to_cancel_is_seen(late: Task) -> None:
    job = late.job("echo begun; sleep 600")
    late.start()
    until(lambda: has_begun(job))
    late.cancel(0)
    late.send(signal.SIGURG)
    late.wait()
    assert (job.end().signal, job.end().cause) == (9, "CANCELLED")


def test_slurm_can_stop_it_without_a_watcher(late: Task) -> None:
    job = late.job("trap '' TERM; echo begun; sleep 600; sleep 600")
    late.start()
    until(lambda: has_begun(job))
    late.send(signal.SIGTERM)
    late.wait()
    assert (job.end().signal, job.end().cause) == (9, "TERMINATED")


def test_told_at_any_moment_every_status_is_told_as_it_was(late: Task) -> None:
    jobs = [late.job(f"exit {number}") for number in range(30)]
    late.start()
    until(jobs[0].start)
    while late.is_running():
        late.send(signal.SIGURG)
    late.wait()
    assert [job.end().exit_code for job in jobs] == list(range(30))


@pytest.mark.parametrize("seed", range(8))
def test_told_once_at_any_moment_of_its_start_it_ends_as_it_would(late: Task, seed: int) -> None:
    job = late.job("exit 5")
    late.start()
    until(job.start)
    for _ in range(seed * 200):  # a moment more each time, however fast the machine is
        late.is_running()
    late.send(signal.SIGURG)
    late.wait()
    assert job.end().exit_code == 5


def has_begun(job: Attempt) -> bool:
    return (job.folder / "stdout").exists() and job.stdout == "begun\n"


def is_watched(task: Task) -> bool:
    """Whether the wrapper has another child than its job."""
    children = pathlib.Path(f"/proc/{task.pid}/task/{task.pid}/children")
    return len(children.read_text().split()) > 1
