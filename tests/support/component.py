"""Programs from elsewhere that some tests need, such as grpcurl.

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
    """A program and how one gets it."""

    program: str
    install: str


COMPONENTS = {
    "buf": Component(program="buf", install="make tools"),
    "grpcurl": Component(program="grpcurl", install="make tools"),
    "node": Component(program="node", install="apt-get install nodejs"),
    "postgres": Component(program="initdb", install="apt-get install postgresql"),
    "rscript": Component(program="Rscript", install="apt-get install r-base-core"),
    "slurm": Component(program="sbatch", install="apt-get install slurm-wlm"),
}


def path(name: str) -> str:
    """Return where the program of this component is; skip or fail the test when it is absent."""
    component = COMPONENTS[name]
    found = shutil.which(component.program, path=f"{_TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is not None:
        return found
    absent = f"{name} is absent; to install it: {component.install}"
    if name in _required():
        pytest.fail(f"{absent} ({_VARIABLE} asks for it)")
    pytest.skip(absent)


def _required() -> set[str]:
    names = {name.strip() for name in os.environ.get(_VARIABLE, "").split(",")} - {""}
    if unknown := names - COMPONENTS.keys():
        raise ValueError(f"{_VARIABLE} names unknown components: {', '.join(sorted(unknown))}")
    return names
