"""Measures what the wrapper of Slurm's tasks costs: processor time per job, without any Slurm.

    python benchmarks/bench_task.py [--rounds N] [--shell dash|bash]

The method is `sh m.sh` with one `echo`. "bare" is a shell that runs it, with its output in a file:
once for each task of one job, many times for a packed task. Every process counts, orphans too.
"""

import argparse
import ctypes
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from dshpc_server.engine.slurm import tasks_file

SCRIPT = pathlib.Path(tasks_file.__file__).with_name("task.sh")
PACKED_JOBS = 50
_SET_CHILD_SUBREAPER = 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shell", default="dash")
    parser.add_argument("--folder", default="/dev/shm")
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        site = Site(pathlib.Path(folder), given.shell)
        for jobs in (1, PACKED_JOBS):
            bare, task = [], []
            for _ in range(given.rounds):
                bare.append(site.bare(jobs))
                task.append(site.task(jobs))
            print(
                f"{jobs:3} jobs a task: bare {min(bare):.2f} ms, wrapper {min(task):.2f} ms,"
                f" difference {min(task) - min(bare):.2f} ms a job"
            )


class Site:
    """A folder with the method, and a PATH on which `sh` is the shell to be measured."""

    def __init__(self, folder: pathlib.Path, shell: str) -> None:
        self.folder = folder
        self._made = 0
        (folder / "bin").mkdir()
        (folder / "bin" / "sh").symlink_to(shutil.which(shell) or shell)
        (folder / "m.sh").write_text("echo 42\n")
        self._environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    def bare(self, jobs: int) -> float:
        """Processor time per job of a shell that runs the method, in ms."""
        lines = "sh m.sh >out\n" * jobs
        script = self.folder / "bare.sh"
        script.write_text(lines)
        repeats = PACKED_JOBS // jobs
        return _cost(["sh", str(script)], self.folder, self._environment, repeats) / jobs

    def task(self, jobs: int) -> float:
        """Processor time per job of the wrapper, in ms."""
        tasks = PACKED_JOBS // jobs
        array = self.folder / f"array-{self._made}"
        for name in ("tasks", "ended", "now", "cancel"):
            (array / name).mkdir(parents=True)
        for task in range(tasks):
            text = tasks_file.text([self._job() for _ in range(jobs)])
            (array / "tasks" / str(task)).write_text(text)
        total = 0.0
        for task in range(tasks):
            environment = self._environment | {f"SLURM_{n}": "some value" for n in range(45)}
            environment |= {
                "SLURM_ARRAY_JOB_ID": "1",
                "SLURM_ARRAY_TASK_ID": str(task),
                "SLURMD_NODENAME": "n1",
            }
            total += _cost(["sh", str(SCRIPT), str(array)], self.folder, environment, 1)
        ended = len(list((array / "ended").iterdir()))
        if ended != tasks * jobs:
            sys.exit(f"{ended} of {tasks * jobs} jobs have ended")
        return total / (tasks * jobs)

    def _job(self) -> tasks_file.TaskJob:
        self._made += 1
        folder = self.folder / "attempts" / f"{self._made:064}" / "1"
        workspace = folder / "workspace"
        (workspace / "tmp").mkdir(parents=True)
        return tasks_file.TaskJob(
            folder=str(folder),
            name=f"{self._made:064}.1",
            limit_seconds=60,
            memory_bytes=64 * 2**20,
            not_found='"command not found: sh"',
            cwd=str(self.folder),
            env={
                "PATH": self._environment["PATH"],
                "LANG": "C.UTF-8",
                "LC_ALL": "C.UTF-8",
                "HOME": str(workspace),
                "TMPDIR": str(workspace / "tmp"),
                "JOB_WORKSPACE": str(workspace),
                "INPUT_FILE": "/dev/null",
                "PARAMS_FILE": str(folder / "params.json"),
                "METHOD_DIR": str(self.folder),
                "METHOD_NAME": "m",
                "PYTHONPATH": str(self.folder),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            argv=["sh", str(self.folder / "m.sh"), "/dev/null", str(folder / "params.json")],
        )


def _cost(
    command: Sequence[str], folder: pathlib.Path, environment: dict[str, str], repeats: int
) -> float:
    """Processor time of one run of a command, with all that it starts, in ms."""
    program = shutil.which(command[0], path=environment["PATH"])
    before = _spent()
    for _ in range(repeats):
        with pathlib.Path(os.devnull).open("r+b") as nothing:
            subprocess.run(
                command,
                executable=program,
                cwd=folder,
                env=environment,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                check=True,
            )
        _reap_orphans()
    return (_spent() - before) / repeats * 1000


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap_orphans() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


if __name__ == "__main__":
    main()
