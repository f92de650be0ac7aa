"""Execution contract 1, for every engine: the process that a launch becomes, and its name.

Words and environment are all here; how the process gets its session, limits and files is each
engine's own.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port

_PASSED_ON = ("PATH", "TZ")
"""What methods see of the server's environment."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """The process of a method."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    """All of its environment."""


def process_of(launch: port.Launch, environment: Mapping[str, str]) -> Process:
    """Return the process that a launch becomes; `environment` is the server's own."""
    folder = str(launch.folder.absolute())
    inputs = {name: str(path) for name, path in launch.inputs.items()}
    first_input = next(iter(inputs.values()), os.devnull)
    params = f"{folder}/params.json"
    return Process(
        argv=[*launch.command, str(launch.script), first_input, params],
        cwd=str(launch.method_dir),
        env={
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
    )


def name_of(key: AttemptKey) -> str:
    """Return the attempt's name, which its records carry."""
    return f"{key.job_id}.{key.number}"


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the environment that does not depend on the launch."""
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **passed_on}


def _variable(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).upper()
