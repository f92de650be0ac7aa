"""A fake Slurm for tests: its programs on a PATH of their own, over a controller that misbehaves.

The programs do and say what those of Slurm 22.05 do, as far as a submitter of job arrays sees it;
tasks are real processes on pretended nodes. Promise: when the context of `running` ends, nothing
that it started is left, detached or not.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from support import fake_slurm_settings as settings_
from support import fake_slurm_wire as wire

REFUSED_FOR_GOOD = "Requested node configuration is not available"
REFUSED_FOR_NOW = "Required partition not available (inactive or drain)"
_PATIENCE_SECONDS = 20.0
_SUPPORT = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What one sbatch was given, and the id that it was taken under."""

    id: str
    name: str
    tasks: int
    options: Mapping[str, str]
    """Long names, as in {"array": "0-9%4", "parsable": ""}."""
    script: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task, as the controller knows it."""

    id: str
    name: str
    state: str
    node: str
    pid: int | None
    """Of its process, which may have ended."""


class FakeSlurm:
    """One pretended cluster; `running` makes one."""

    def __init__(self, folder: pathlib.Path, link: socket.socket) -> None:
        self._lock = threading.Lock()
        link.settimeout(_PATIENCE_SECONDS)
        self._lines = link.makefile("rwb")
        self.bin = folder / "bin"
        self.environment = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ.get('PATH', os.defpath)}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def down(self) -> None:
        """The controller is gone: the programs say so after a while, and sbatch tries on."""
        self._ask("down")

    def pause(self) -> None:
        """The controller takes connections and answers none."""
        self._ask("pause")

    def up(self) -> None:
        """It answers again. What ran went on meanwhile."""
        self._ask("up")

    def hold(self) -> None:
        """Nothing is started from now on."""
        self._ask("hold")

    def release(self) -> None:
        """What waits is started again."""
        self._ask("release")

    def lie(self, kind: str = "") -> None:
        """What squeue answers from now on: "empty", "cut", "garbage", "error"; "" = the truth."""
        assert kind in {"", "empty", "cut", "garbage", "error"}
        self._ask("lie", kind=kind)

    def refuse(self, reason: str = REFUSED_FOR_GOOD, *, times: int = 1) -> None:
        """The next submissions are refused with these words, and leave nothing."""
        self._ask("refuse", reason=reason, times=times)

    def take_but_fail(self, *, hangs: bool = False) -> None:
        """The next submission is taken, but its sbatch says it timed out, or never ends."""
        self._ask("take_but_fail", hangs=hangs)

    def lose(self, name: str) -> None:
        """Forget a submission: what waits never runs, what runs goes on unknown."""
        assert self._ask("lose", name=name) > 0, f"no array is called {name}"

    def restart(self, *, ago_seconds: float = 0.0) -> None:
        """The controller was started anew so long ago, and has forgotten nothing."""
        self._ask("restart", ago_seconds=ago_seconds)

    def crash(self, *, within_seconds: float = 5.0, give_ids_again: bool = True) -> list[int]:
        """Forget what was submitted lately; return its ids, which the next submissions get."""
        forgotten: list[int] = self._ask(
            "crash", within_seconds=within_seconds, give_ids_again=give_ids_again
        )
        return forgotten

    def end(self, job_id: str, state: str) -> None:
        """End a task in this state, as Slurm would: NODE_FAIL lets its processes go on."""
        self._ask("end", job_id=job_id, state=state)

    def suspend(self, job_id: str) -> None:
        """All processes of a task stop."""
        self._ask("suspend", job_id=job_id)

    def resume(self, job_id: str) -> None:
        """They go on."""
        self._ask("resume", job_id=job_id)

    @property
    def submissions(self) -> list[Submission]:
        """What was taken, oldest first."""
        return [Submission(**value) for value in self._ask("submissions")]

    @property
    def calls(self) -> list[list[str]]:
        """Every command line, oldest first."""
        found: list[list[str]] = self._ask("calls")
        return found

    @property
    def polls(self) -> int:
        """How often squeue was called."""
        return sum(1 for call in self.calls if call[0] == "squeue")

    @property
    def tasks(self) -> list[Task]:
        """All that the controller knows."""
        return [Task(**value) for value in self._ask("tasks")]

    def _ask(self, method: str, **arguments: object) -> Any:  # noqa: ANN401 - as JSON has it
        question = json.dumps({"method": method, "arguments": arguments}).encode()
        with self._lock:
            self._lines.write(question + b"\n")
            self._lines.flush()
            line = self._lines.readline()
        assert line, "the fake controller has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """Let go of the controller, which ends."""
        self._lines.close()


@contextlib.contextmanager
def running(folder: pathlib.Path, **settings: Any) -> Iterator[FakeSlurm]:  # noqa: ANN401 - by name
    """A fake Slurm in this folder, which is made; `settings` are those of `Settings`."""
    wanted = dataclasses.asdict(settings_.Settings(**settings))
    folder.mkdir(parents=True, exist_ok=True)
    for program in wire.PROGRAMS:
        wire.write_program(folder, program)
    (folder / "slurm.conf").write_text(f"ClusterName={wanted['cluster_name']}\n")
    ours, its = socket.socketpair()
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        with its:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "support.fake_slurm_controller"),
                    *(str(folder), json.dumps(wanted), str(its.fileno())),
                ],
                env={**os.environ, "PYTHONPATH": str(_SUPPORT.parent)},
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        stack.callback(_await_end, process)
        fake = FakeSlurm(folder, ours)
        stack.callback(ours.shutdown, socket.SHUT_RDWR)
        stack.callback(fake.close)
        fake._ask("ready")
        yield fake


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        code = process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    assert code == 0, f"the fake controller ended with {code}"
