"""Runs an example method the way the server does, and reads examples/demo.yaml.

Promises: the method gets its input and its parameters by path, works in its own
folder, and sees the environment of the execution contract and nothing else.
Nothing is written outside the workspace that is handed in.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
COMMANDS = EXAMPLES / "methods" / "commands"
SCRIPTS = EXAMPLES / "methods" / "scripts"
DATA = EXAMPLES / "data"
IN_PROCESS = pathlib.Path(__file__).with_name("examples_in_process.py")
DEADLINE_SECONDS = 60


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a method ended and what it wrote."""

    exit_code: int
    output: str
    log: str

    @property
    def answer(self) -> dict[str, Any]:
        assert self.exit_code == 0, self.log
        answer = json.loads(self.output)
        assert isinstance(answer, dict)
        return answer


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job of the demo, with its parameters as the file gives them."""

    method: str
    path: pathlib.Path
    parameters: Mapping[str, Any]


def manifest(method: str) -> dict[str, Any]:
    content = json.loads((COMMANDS / f"{method}.json").read_text())
    assert isinstance(content, dict)
    return content


def methods() -> list[str]:
    return sorted(path.stem for path in COMMANDS.glob("*.json"))


def input_names(method: str) -> list[str]:
    """The inputs of a method; most have the one that a manifest need not name."""
    return [entry["name"] for entry in manifest(method).get("inputs", [{"name": "input"}])]


def with_defaults(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the server fills in."""
    declared = manifest(method)["parameters"]
    defaults = {entry["name"]: entry["default"] for entry in declared if "default" in entry}
    return defaults | dict(parameters)


def run(method: str, input_path: pathlib.Path | str, /, **parameters: object) -> Run:
    """Run a method over a file; a name without folder is one of the example data."""
    with tempfile.TemporaryDirectory() as workspace:
        parameters_path = pathlib.Path(workspace, "parameters.json")
        parameters_path.write_text(
            json.dumps(with_defaults(method, parameters), separators=(",", ":"), sort_keys=True)
        )
        return execute(method, DATA / input_path, parameters_path)


def run_on_inputs(method: str, inputs: Mapping[str, pathlib.Path], /, **parameters: object) -> Run:
    """Run a method over files by the names of its inputs."""
    with tempfile.TemporaryDirectory() as workspace:
        parameters_path = pathlib.Path(workspace, "parameters.json")
        parameters_path.write_text(json.dumps(with_defaults(method, parameters)))
        first = inputs[input_names(method)[0]]
        named = {f"INPUT_FILE_{name.upper()}": str(path) for name, path in inputs.items()}
        return execute(method, first, parameters_path, named)


def run_all(method: str, jobs: Sequence[tuple[pathlib.Path, Mapping[str, object]]]) -> list[Run]:
    """Run many jobs of a method: a Python method's in one interpreter, to save time."""
    with tempfile.TemporaryDirectory() as workspace:
        pairs = []
        for number, (input_path, parameters) in enumerate(jobs):
            parameters_path = pathlib.Path(workspace, f"{number}.json")
            parameters_path.write_text(json.dumps(with_defaults(method, parameters)))
            pairs.append((input_path, parameters_path))
        if manifest(method)["command"] == "python3":
            return execute_together(method, pairs)
        return [execute(method, *pair) for pair in pairs]


def execute_together(method: str, pairs: Sequence[tuple[pathlib.Path, pathlib.Path]]) -> list[Run]:
    """Start one interpreter for many jobs and wait for its end."""
    done = subprocess.run(
        [sys.executable, "-B", IN_PROCESS, SCRIPTS / method],
        input=json.dumps([[str(path) for path in pair] for pair in pairs]),
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    return [
        Run(exit_code=exit_code, output=output, log=log)
        for exit_code, output, log in json.loads(done.stdout)
    ]


def execute(
    method: str,
    input_path: pathlib.Path,
    parameters_path: pathlib.Path,
    named_inputs: Mapping[str, str] = types.MappingProxyType({}),
) -> Run:
    """Start the method's command and wait for its end."""
    described = manifest(method)
    done = subprocess.run(
        [described["command"], described["script_path"], input_path, parameters_path],
        check=False,
        cwd=SCRIPTS / method,
        env=environment(method, input_path, parameters_path) | dict(named_inputs),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
    )
    return Run(exit_code=done.returncode, output=done.stdout.decode(), log=done.stderr.decode())


def environment(
    method: str, input_path: pathlib.Path, parameters_path: pathlib.Path
) -> dict[str, str]:
    workspace = str(parameters_path.parent)
    folder = str(SCRIPTS / method)
    return {
        # This interpreter is the first python3: the methods need none but it.
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]),
        "JOB_WORKSPACE": workspace,
        "TMPDIR": workspace,
        "INPUT_FILE": str(input_path),
        "INPUT_FILE_INPUT": str(input_path),
        "PARAMS_FILE": str(parameters_path),
        "METHOD_DIR": folder,
        "METHOD_NAME": method,
        "PYTHONPATH": folder,
        # The server's copy of a method is read-only; this folder must not change either.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def demo_jobs() -> list[Job]:
    """Expand the demo as the `run` command does: single jobs, then files times parameters."""
    demo = yaml.safe_load((EXAMPLES / "demo.yaml").read_text())
    labels = demo.get("files", {})
    jobs = [
        Job(
            method=entry["method"],
            path=EXAMPLES / labels.get(entry["file"], entry["file"]),
            parameters=entry.get("parameters", {}),
        )
        for entry in demo["jobs"]
    ]
    for entry in demo["matrix"]:
        jobs += [
            Job(method=entry["method"], path=path, parameters=parameters)
            for path in expand(entry["files"])
            for parameters in entry["parameters"]
        ]
    return jobs


def expand(patterns: Sequence[str]) -> list[pathlib.Path]:
    paths = [path for pattern in patterns for path in sorted(EXAMPLES.glob(pattern))]
    assert paths, f"{patterns} match no file"
    return paths
