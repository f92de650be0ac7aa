"""Scripts that stand for Slurm's commands, for tests of who calls them.

A module imports the fixture `environment`, and puts scripts into the test's folder.
"""

import os
import pathlib

import pytest


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> dict[str, str]:
    """In which a command is the script of that name, and HOME is the test's folder."""
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def put(folder: pathlib.Path, name: str, script: str) -> None:
    """Make a command of these lines of shell."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
