"""Execution contract 1: the process a launch becomes, and what the runner's facts mean."""

import datetime
import os
import pathlib
import re
from collections.abc import Mapping

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from dshpc_server.engine.local import wire

_PASSED_ON = ("PATH", "TZ")
"""What methods see of the server's environment."""


def name_of(key: AttemptKey) -> str:
    """Return the attempt's name towards the runner."""
    return f"{key.job_id}.{key.number}"


def job_of(launch: port.Launch, environment: Mapping[str, str]) -> wire.Job:
    """Return the process that execution contract 1 makes of a launch."""
    folder = str(launch.folder.absolute())
    inputs = {name: str(path) for name, path in launch.inputs.items()}
    first_input = next(iter(inputs.values()), os.devnull)
    params = f"{folder}/params.json"
    return {
        "name": name_of(launch.key),
        "folder": folder,
        "argv": [*launch.command, str(launch.script), first_input, params],
        "cwd": str(launch.method_dir),
        "env": {
            **shared_environment(environment),
            **{f"INPUT_FILE_{_variable(name)}": path for name, path in inputs.items()},
            "HOME": f"{folder}/workspace",
            "TMPDIR": f"{folder}/workspace/tmp",
            "JOB_WORKSPACE": f"{folder}/workspace",
            "INPUT_FILE": first_input,
            "PARAMS_FILE": params,
            "METHOD_DIR": str(launch.method_dir),
            "METHOD_NAME": launch.method_name,
            "PYTHONPATH": str(launch.method_dir),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        "params": launch.parameters_json,
        "memory_bytes": launch.resources.memory_bytes,
        "timeout_seconds": launch.timeout_seconds,
    }


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the environment that does not depend on the launch."""
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **passed_on}


def fact_of(fact: wire.Fact, key: AttemptKey, folder: pathlib.Path, node: str) -> port.Fact:
    """Return a runner's fact, which is in form, as the port has it."""
    at = _moment(fact["at"])
    match fact["fact"]:
        case "started":
            return port.Started(key=key, at=at, engine_job_id=str(fact["pid"]), node=node)
        case "exited":
            started_at = _moment(fact["started_at"])
            return port.Exited(
                key=key,
                at=max(at, started_at),  # the clock may have been set back
                started_at=started_at,
                engine_job_id=str(fact["pid"]),
                node=node,
                exit_code=fact["exit_code"],
                signal=fact["signal"],
                cause=port.Cause(fact["cause"]),
                stdout=folder / "stdout",
                stderr=folder / "stderr",
            )
        case "not_started":
            # Runners before this one did not say so.
            is_permanent = fact.get("is_permanent") is True
            return port.NotStarted(key=key, at=at, reason=fact["reason"], is_permanent=is_permanent)
        case _:
            return port.Lost(key=key, at=at, reason=fact["reason"])


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()
