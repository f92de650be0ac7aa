"""Launches for tests: methods that obey their parameters, and scripts written by the test."""

import itertools
import json
import pathlib
import sys
import textwrap
from collections.abc import Mapping, Sequence

from dshpc_server.domain.job import AttemptKey, Resources, RunTime
from dshpc_server.engine import port

_ACTOR = """
import json, os, pathlib, signal, sys, time
act = json.loads(pathlib.Path(sys.argv[2]).read_text())
with open(pathlib.Path(os.environ["METHOD_DIR"], "runs"), "a") as runs:
    print(os.environ["JOB_WORKSPACE"], file=runs)
sys.stdout.write(act.get("stdout", ""))
sys.stderr.write(act.get("stderr", ""))
sys.stdout.flush()
time.sleep(act.get("sleep_seconds", 0))
if "signal" in act:
    os.kill(os.getpid(), act["signal"])
sys.exit(act.get("exit_code", 0))
"""


class Launches:
    """Makes launches whose folders lie below one folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

    def acting(
        self, *, timeout_seconds: float = 60, number: int = 1, **act: str | float
    ) -> port.Launch:
        """A method that does what its parameters say: stdout, stderr, sleep, signal, exit_code."""
        return self.script(
            _ACTOR,
            command=[sys.executable],
            parameters_json=json.dumps(act),
            timeout_seconds=timeout_seconds,
            number=number,
        )

    def python(self, text: str, **rest: object) -> port.Launch:
        return self.script(text, command=[sys.executable], **rest)  # type: ignore[arg-type]  # passed on as they are

    def script(
        self,
        text: str,
        *,
        command: Sequence[str] = ("bash",),
        inputs: Mapping[str, pathlib.Path] | None = None,
        parameters_json: str = "{}",
        resources: Resources = Resources(),  # noqa: B008 - frozen
        timeout_seconds: float = 60,
        number: int = 1,
        run_time: RunTime | None = None,
    ) -> port.Launch:
        """A method whose script is this text; it runs by bash unless told otherwise."""
        name = f"method-{next(self._numbers)}"
        method_dir = self.folder / name
        method_dir.mkdir(parents=True)
        script = method_dir / "main"
        script.write_text(textwrap.dedent(text))
        return port.Launch(
            key=AttemptKey(job_id=f"{name:x>64}", number=number),
            folder=self.folder / "attempts" / name / str(number),
            command=command,
            script=script,
            method_dir=method_dir,
            method_name=name,
            inputs=inputs or {},
            parameters_json=parameters_json,
            resources=resources,
            timeout_seconds=timeout_seconds,
            run_time=run_time,
        )


def runs_of(launch: port.Launch) -> int:
    """How often an acting method ran."""
    runs = launch.method_dir / "runs"
    return len(runs.read_text().splitlines()) if runs.exists() else 0
