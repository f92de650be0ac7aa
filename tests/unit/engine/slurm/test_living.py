"""Who may still run on the cluster, told by what lies in folders alone."""

import datetime
import os
import pathlib
import time

import pytest

from dshpc_server.engine.slurm import living, places

NAME = f"dshpc-{'d' * 32}-{'a' * 16}"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """An attempt's folder, in task 7 of an array whose wrapper shows itself."""
    made = tmp_path / "attempts" / "ab" / ("ab" * 32) / "2"
    made.mkdir(parents=True)
    at = datetime.datetime.fromtimestamp(0, datetime.UTC)
    place = places.Place(array=NAME, index=7, position=0, packing=None, at=at)
    places.write(made, f"{'ab' * 32}.2", place)
    now = tmp_path / NAME / "now"
    now.mkdir(parents=True)
    (now / "7").touch()
    return made


def test_one_whose_wrapper_shows_itself_may_run(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert living.shows_itself(folder, tmp_path)


def test_one_that_has_ended_does_not_run_though_its_task_does(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (folder / "exit").touch()
    assert not living.shows_itself(folder, tmp_path)


def test_one_whose_wrapper_was_not_seen_for_long_does_not_run(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    long_ago = time.time() - 3600
    os.utime(tmp_path / NAME / "now" / "7", (long_ago, long_ago))
    assert not living.shows_itself(folder, tmp_path)


def test_one_that_waits_in_the_queue_does_not_run(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / NAME / "now" / "7").unlink()
    assert not living.shows_itself(folder, tmp_path)


def test_one_that_was_never_on_the_cluster_does_not_run(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (folder / "task.json").unlink()
    assert not living.shows_itself(folder, tmp_path)
