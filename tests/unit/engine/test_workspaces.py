"""A workspace is used again only when it is as it was given."""

import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.engine.local import workspaces


@pytest.fixture
def rooms(tmp_path: pathlib.Path) -> workspaces.Workspaces:
    return workspaces.Workspaces(str(tmp_path / "spares"))


def _give(rooms: workspaces.Workspaces, path: pathlib.Path) -> pathlib.Path:
    rooms.give(str(path))
    assert [entry.name for entry in path.iterdir()] == ["tmp"]
    for directory in (path, path / "tmp"):
        directory.chmod(0o700)
    return path


def test_an_empty_workspace_is_given_again(
    rooms: workspaces.Workspaces, tmp_path: pathlib.Path
) -> None:
    first = _give(rooms, tmp_path / "first")
    inode = first.stat().st_ino
    rooms.take(str(first))
    assert not first.exists()
    assert _give(rooms, tmp_path / "second").stat().st_ino == inode
    _give(rooms, tmp_path / "third")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda room: (room / "file").touch(),
        lambda room: (room / "tmp" / "file").touch(),
        lambda room: (room / "tmp").rmdir(),
        lambda room: (room / "tmp").chmod(0o755),
        lambda room: room.chmod(0o500),
        lambda room: ((room / "tmp").rmdir(), (room / "tmp").symlink_to("/")),
        lambda room: ((room / "tmp").rmdir(), room.rmdir()),
    ],
)
def test_a_workspace_that_was_used_is_left_where_it_is(
    rooms: workspaces.Workspaces, tmp_path: pathlib.Path, spoil: Callable[[pathlib.Path], object]
) -> None:
    room = _give(rooms, tmp_path / "room")
    spoil(room)
    rooms.take(str(room))
    assert list((tmp_path / "spares").iterdir()) == []


def test_spares_are_removed_in_the_end_and_those_of_a_dead_runner_in_the_beginning(
    rooms: workspaces.Workspaces, tmp_path: pathlib.Path
) -> None:
    rooms.take(str(_give(rooms, tmp_path / "room")))
    again = workspaces.Workspaces(str(tmp_path / "spares"))
    assert list((tmp_path / "spares").iterdir()) == []
    again.close()
    assert not (tmp_path / "spares").exists()


def test_a_spare_that_somebody_filled_does_not_keep_the_next_runner_from_starting(
    rooms: workspaces.Workspaces, tmp_path: pathlib.Path
) -> None:
    rooms.take(str(_give(rooms, tmp_path / "first")))
    (tmp_path / "spares" / "0" / "file").touch()
    again = workspaces.Workspaces(str(tmp_path / "spares"))
    for number in range(2):
        again.take(str(_give(again, tmp_path / f"room-{number}")))
    _give(again, tmp_path / "last")
    assert (tmp_path / "spares" / "0" / "file").exists()
