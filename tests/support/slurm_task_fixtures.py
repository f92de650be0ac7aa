"""A task by each shell that is `sh` somewhere, watched from its start or only when it is told."""

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from support import component, engine_leavings
from support.slurm_task import Task


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    component.path(request.param)
    return str(request.param)


@pytest.fixture
def task(shell: str, tmp_path: pathlib.Path) -> Iterator[Task]:
    with _running(tmp_path, Task(tmp_path / "site", sh=shell)) as task:
        yield task


@pytest.fixture
def late(shell: str, tmp_path: pathlib.Path) -> Iterator[Task]:
    with _running(tmp_path, Task(tmp_path / "site", sh=shell, is_watched_late=True)) as task:
        yield task


@contextlib.contextmanager
def _running(folder: pathlib.Path, task: Task) -> Iterator[Task]:
    yield task
    task.close()
    assert not engine_leavings.await_none(folder)
