"""Scripts for a fake Slurm, its programs called as a user does, and waiting for what follows."""

import pathlib
import subprocess
import time
from collections.abc import Callable

from support.fake_slurm import FakeSlurm

DEADLINE_SECONDS = 20.0
_LASTING = 'echo $$ > "running.${SLURM_ARRAY_TASK_ID-0}"; while :; do sleep 0.02; done'
_STATES = ["-h", "-r", "-t", "all", "-o", "%i %T %r"]


class Site:
    """A folder of scripts, where the programs are called."""

    def __init__(self, fake: FakeSlurm, folder: pathlib.Path) -> None:
        self.folder = folder
        self._fake = fake
        folder.mkdir()

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            env=self._fake.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> tuple[int, str, str]:
        """The exit code, and what was printed."""
        with self.start(*words) as process:
            out, error = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, out, error

    def sbatch_words(self, script: str, *options: str, name: str = "job") -> list[str]:
        path = self.folder / "script.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        return ["sbatch", "--parsable", f"--job-name={name}", "-o", "out", *options, str(path)]

    def submit(self, script: str, *options: str, name: str = "job") -> str:
        code, out, error = self.call(*self.sbatch_words(script, *options, name=name))
        assert code == 0, error
        return out.strip()

    def run(self, *options: str) -> str:
        """Submit a job that lasts; return its id once it runs."""
        for path in self.folder.glob("running.*"):
            path.unlink()
        job_id = self.submit(_LASTING, *options)
        until(lambda: any(path.read_text() for path in self.folder.glob("running.*")))
        return job_id

    def squeue(self) -> list[str]:
        code, out, error = self.call("squeue", *_STATES)
        assert code == 0, error
        return sorted(out.splitlines())


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
