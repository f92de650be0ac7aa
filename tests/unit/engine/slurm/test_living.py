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
    for index, name in ((7, f"{'ab' * 32}.2"), (8, f"{'cd' * 32}.1")):
        make_task(tmp_path, index, name)
    return made


def make_task(arrays_dir: pathlib.Path, index: int, *names: str) -> None:
    """Make a task of the array, which holds these attempts and whose wrapper shows itself."""
    for each in ("now", "tasks"):
        (arrays_dir / NAME / each).mkdir(parents=True, exist_ok=True)
    (arrays_dir / NAME / "now" / str(index)).touch()
    calls = [f"job /attempt {name} 6000 0 '\"\"' /method -- sh main\n" for name in names]
    (arrays_dir / NAME / "tasks" / str(index)).write_text("".join(calls))


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


@pytest.mark.parametrize(("index", "position"), [(8, 0), (7, 1), (9, 0)])
def test_one_that_says_it_is_where_others_are_does_not_run_by_their_wrapper(
    folder: pathlib.Path, tmp_path: pathlib.Path, index: int, position: int
) -> None:
    at = datetime.datetime.fromtimestamp(0, datetime.UTC)
    forged = places.Place(array=NAME, index=index, position=position, packing=None, at=at)
    places.write(folder, f"{'ab' * 32}.2", forged)
    assert not living.shows_itself(folder, tmp_path)


def test_one_that_runs_second_in_its_task_may_run(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    make_task(tmp_path, 3, f"{'cd' * 32}.1", f"{'ab' * 32}.2")
    at = datetime.datetime.fromtimestamp(0, datetime.UTC)
    second = places.Place(array=NAME, index=3, position=1, packing=None, at=at)
    places.write(folder, f"{'ab' * 32}.2", second)
    assert living.shows_itself(folder, tmp_path)


def test_one_whose_array_is_being_removed_may_run_while_its_wrapper_shows_itself(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / NAME / "tasks" / "7").unlink()
    assert living.shows_itself(folder, tmp_path)
