"""What some tests need of the machine, such as grpcurl.

Promise: a test that needs an absent one is skipped by name with how to install it, and fails
instead when DSHPC_TEST_REQUIRE names it (comma-separated).
"""

import dataclasses
import os
import pathlib
import shutil

import pytest

_TOOLS = pathlib.Path(__file__).resolve().parents[2] / ".tools" / "bin"
_VARIABLE = "DSHPC_TEST_REQUIRE"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """Something of the machine, and how one gets it."""

    program: str
    """What to look for on PATH; empty when it is no program."""
    install: str


COMPONENTS = {
    "bash": Component(program="bash", install="apt-get install bash"),
    "buf": Component(program="buf", install="make tools"),
    "cc": Component(program="cc", install="apt-get install gcc libc6-dev"),
    "cgroups": Component(program="", install="run as root, or under systemd with Delegate=yes"),
    "dash": Component(program="dash", install="apt-get install dash"),
    "faketime": Component(program="faketime", install="apt-get install faketime"),
    "grpcurl": Component(program="grpcurl", install="make tools"),
    "mount": Component(program="", install="run as root, where file systems may be mounted"),
    "node": Component(program="node", install="apt-get install nodejs"),
    "postgres": Component(program="initdb", install="apt-get install postgresql"),
    "python3": Component(program="python3", install="apt-get install python3"),
    "rscript": Component(program="Rscript", install="apt-get install r-base-core"),
    "slurm": Component(
        program="sbatch",
        install="apt-get install slurmctld slurmd slurm-client munge, and run as root",
    ),
    "slurmdbd": Component(program="slurmdbd", install="apt-get install slurmdbd mariadb-server"),
}


def path(name: str) -> str:
    """Return where the program of this component is; skip or fail the test when it is absent."""
    component = COMPONENTS[name]
    found = shutil.which(component.program, path=f"{_TOOLS}{os.pathsep}{os.environ['PATH']}")
    require(name, present=found is not None)
    return str(found)


def require(name: str, *, present: bool) -> None:
    """Go on when the component is present; otherwise skip the test, or fail it."""
    if present:
        return
    absent = f"{name} is absent; to install it: {COMPONENTS[name].install}"
    if name in _required():
        pytest.fail(f"{absent} ({_VARIABLE} asks for it)")
    pytest.skip(absent)


def _required() -> set[str]:
    names = {name.strip() for name in os.environ.get(_VARIABLE, "").split(",")} - {""}
    if unknown := names - COMPONENTS.keys():
        raise ValueError(f"{_VARIABLE} names unknown components: {', '.join(sorted(unknown))}")
    return names
