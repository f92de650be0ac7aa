"""Runs the wrapper of array tasks as Slurm would, without any Slurm: one task at a time."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence

from dshpc_server.engine.slurm import records, tasks_file

SCRIPT = pathlib.Path(tasks_file.__file__).with_name("task.sh")
DEADLINE_SECONDS = 30.0
_ENV = shutil.which("env") or "/usr/bin/env"
TASK = 7
JOB_ID = f"12_{TASK}"
NODE = "n1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A job of the task, and what became of it."""

    folder: pathlib.Path
    name: str
    job: tasks_file.TaskJob

    def end(self) -> records.ExitRecord:
        end = records.read_exit(self.folder, self.name)
        assert end is not None
        return end

    def start(self) -> records.StartRecord | None:
        return records.read_start(self.folder, self.name)

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def workspace(self) -> pathlib.Path:
        return self.folder / "workspace"


class Task:
    """The task of an array, with its folder below one folder; `sh` is the shell it runs by."""

    def __init__(
        self, folder: pathlib.Path, *, sh: str = "sh", is_watched_late: bool = False
    ) -> None:
        self.folder = folder
        self._words = ["late"] if is_watched_late else []
        self.array = folder / "array"
        self.method_dir = folder / "method"
        self.attempts: list[Attempt] = []
        self.given: dict[str, str] = {}
        """What Slurm has set beside the usual."""
        self._path = _path_with(folder / "bin", sh)
        self._process: subprocess.Popen[bytes] | None = None
        self._said = folder / "said"
        self._is_bash = sh == "bash"
        for name in ("tasks", "ended", "now", "cancel"):
            (self.array / name).mkdir(parents=True)
        self.method_dir.mkdir()

    def job(
        self,
        script: str = "",
        *,
        argv: Sequence[str] | None = None,
        limit_seconds: float = 60,
        memory_bytes: int = 0,
        cwd: pathlib.Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Attempt:
        """Add a job that runs this script by the shell, or these words."""
        number = len(self.attempts)
        attempt_folder, name = self.folder / "attempts" / str(number), f"job-{number}.1"
        workspace = attempt_folder / "workspace"
        (workspace / "tmp").mkdir(parents=True, mode=0o700)
        if argv is None:
            path = self.method_dir / f"main-{number}"
            path.write_text(textwrap.dedent(script))
            argv = ["sh", str(path)]
        usual = {
            "PATH": self._path,
            "LC_ALL": "C.UTF-8",
            "HOME": str(workspace),
            "JOB_WORKSPACE": str(workspace),
        }
        job = tasks_file.TaskJob(
            folder=str(attempt_folder),
            name=name,
            limit_seconds=limit_seconds,
            memory_bytes=memory_bytes,
            not_found=json.dumps(f"command not found: {argv[0]}"),
            cwd=str(cwd or self.method_dir),
            env={**usual, **(env or {})},
            argv=argv,
        )
        self.attempts.append(Attempt(folder=attempt_folder, name=name, job=job))
        return self.attempts[-1]

    def python(self, text: str, *, memory_bytes: int = 0, limit_seconds: float = 60) -> Attempt:
        """Add a job that runs this text by Python."""
        path = self.method_dir / f"main-{len(self.attempts)}.py"
        path.write_text(textwrap.dedent(text))
        argv = ["python3", str(path)]
        return self.job(argv=argv, memory_bytes=memory_bytes, limit_seconds=limit_seconds)

    def start(self) -> None:
        """Start the wrapper as a leader of its own group, as slurmstepd does."""
        self.write()
        self._process = self.twin()

    def write(self) -> None:
        """Write down what is to be run, once."""
        text = tasks_file.text([attempt.job for attempt in self.attempts])
        path = self.array / "tasks" / str(TASK)
        if not path.exists():
            path.write_bytes(text.encode(errors="surrogateescape"))

    def twin(self) -> subprocess.Popen[bytes]:
        """Start a wrapper of this task beside the first."""
        environment = {
            "PATH": self._path,
            "HOME": "/nowhere",
            "position": "9",
            "MANY_LINES": "1\nexport array='x'",
            "BASH_FUNC_leaked%%": "() {  :\n}",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": str(TASK),
            "SLURMD_NODENAME": NODE,
            **self.given,
        }
        with self._said.open("ab") as said:
            return subprocess.Popen(
                # As slurmstepd does: what whoever runs the tests ignores is not ignored by methods.
                [
                    _ENV,
                    "--default-signal",
                    self.folder / "bin" / "sh",
                    SCRIPT,
                    self.array,
                    *self._words,
                ],
                cwd=self.array,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def run(self) -> Sequence[Attempt]:
        """Run the whole task."""
        self.start()
        self.wait()
        return self.attempts

    def wait(self) -> None:
        """Wait until the wrapper is gone; it has said nothing."""
        assert self._process is not None
        assert self._process.wait(DEADLINE_SECONDS) == 0
        # Shells tell of processes that a signal ended, bash of all.
        said = self._said.read_text().split()
        assert self._is_bash or set(said) <= {"Terminated", "Killed"}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """What Slurm does: to the wrapper, and to everything in its session."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def cancel(self, position: int) -> None:
        """Ask for a job to be stopped, and tell the wrapper."""
        (self.array / "cancel" / f"{TASK}.{position}").touch()

    def ended(self) -> set[str]:
        return {path.name for path in (self.array / "ended").iterdir()}

    def close(self) -> None:
        """End what a test has left of it."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def until(is_so: Callable[[], object]) -> None:
    """Wait, with a deadline, for something that nobody announces."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _path_with(folder: pathlib.Path, sh: str) -> str:
    """A PATH on which `sh` is this shell."""
    folder.mkdir(parents=True)
    found = shutil.which(sh)
    assert found is not None
    (folder / "sh").symlink_to(found)
    python = pathlib.Path(sys.executable).parent
    return f"{folder}:{python}:/usr/bin:/bin"
