"""A task by each shell that is `sh` somewhere."""

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from support import engine_leavings
from support.slurm_task import Task


@pytest.fixture(params=["dash", "bash"])
def task(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Task]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    task = Task(tmp_path / "site", sh=request.param)
    yield task
    task.close()
    assert not engine_leavings.await_none(tmp_path)
