"""Presence: who holds a lock lives, and nobody is taken for dead without proof."""

import errno
import fcntl
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from dshpc_server.files import locks
from dshpc_server.presence import Presence

HOLD = """
import pathlib, signal, sys
from dshpc_server.presence import Presence
Presence(pathlib.Path(sys.argv[1])).hold(sys.argv[2])
print("held", flush=True)
signal.pause()
"""

FILES = """
import os
for each in os.listdir("/proc/self/fd"):
    try:
        print(os.readlink(f"/proc/self/fd/{each}"))
    except OSError:
        pass  # the folder itself
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "servers"


def names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_who_is_there_is_not_gone_and_leaves_nothing(folder: pathlib.Path) -> None:
    one, other = Presence(folder), Presence(folder)
    one.hold("a")
    assert names(folder) == ["a.lock"]
    assert one.gone(["a"]) == other.gone(["a"]) == set()
    one.release()
    one.release()
    assert names(folder) == []


def test_of_whom_there_is_no_lock_nothing_is_known(folder: pathlib.Path) -> None:
    presence = Presence(folder)
    assert presence.gone(["unknown"]) == set()
    presence.hold("a")
    presence.release()
    assert presence.gone(["a"]) == set()


def test_who_becomes_another_is_not_the_former_any_more(folder: pathlib.Path) -> None:
    presence = Presence(folder)
    presence.hold("a")
    presence.hold("b")
    assert names(folder) == ["b.lock"]
    assert Presence(folder).gone(["a", "b"]) == set()
    presence.release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_died_is_gone_however_that_was(folder: pathlib.Path, number: signal.Signals) -> None:
    presence = Presence(folder)
    command = [sys.executable, "-c", HOLD, str(folder), "dead"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert presence.gone(["dead"]) == set()
        process.send_signal(signal.SIGSTOP)  # who stands still lives
        assert presence.gone(["dead"]) == set()
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        process.wait()
    assert presence.gone(["dead", "unknown"]) == {"dead"}
    assert names(folder) == ["dead.lock"]  # for whoever else asks


def test_a_child_of_a_server_does_not_stand_in_for_it(folder: pathlib.Path) -> None:
    presence = Presence(folder)
    presence.hold("a")
    told = subprocess.run(
        [sys.executable, "-c", FILES], close_fds=False, capture_output=True, text=True, check=True
    )
    assert "/dev/" in told.stdout  # it has files, and they are told
    assert "a.lock" not in told.stdout
    presence.release()


def test_what_the_dead_left_is_cleared_but_for_those_still_needed(folder: pathlib.Path) -> None:
    presence = Presence(folder)
    presence.hold("alive")
    for name in ("dead", "owner"):
        (folder / f"{name}.lock").touch()
    presence.clear(["owner"])
    assert names(folder) == ["alive.lock", "owner.lock"]
    presence.clear([])
    assert names(folder) == ["alive.lock"]
    presence.release()


def test_what_somebody_left_who_died_while_he_began_is_cleared_too(folder: pathlib.Path) -> None:
    presence = Presence(folder)
    presence.hold("alive")
    (folder / ".new-dead").touch()
    with (folder / ".new-beginning").open("w") as beginning:
        fcntl.flock(beginning, fcntl.LOCK_EX)
        presence.clear(["alive"])
        assert names(folder) == [".new-beginning", "alive.lock"]
    presence.clear(["alive"])
    assert names(folder) == ["alive.lock"]
    presence.release()


def test_who_is_cleared_away_while_he_begins_begins_again(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = locks.hold
    cleared: list[pathlib.Path] = []

    def too_late(descriptor: int, path: pathlib.Path) -> bool:
        if not cleared:
            cleared.append(path)
            Presence(folder).clear([])
        return hold(descriptor, path)

    monkeypatch.setattr(locks, "hold", too_late)
    presence = Presence(folder)
    presence.hold("a")
    assert [path.name for path in cleared] == [".new-a"]
    assert names(folder) == ["a.lock"]
    assert Presence(folder).gone(["a"]) == set()
    presence.release()


def test_who_cannot_begin_leaves_nothing(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    presence = Presence(folder)
    with monkeypatch.context() as patched:
        patched.setattr(pathlib.Path, "rename", fail)
        with pytest.raises(OSError, match="Input/output"):
            presence.hold("a")
    assert names(folder) == []
    presence.release()


def test_a_link_in_the_place_of_a_lock_is_not_followed(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    folder.mkdir()
    (tmp_path / "other").touch()
    (folder / "a.lock").symlink_to(tmp_path / "other")
    assert Presence(folder).gone(["a"]) == set()


def test_a_folder_that_is_not_there_is_nothing_to_clear(folder: pathlib.Path) -> None:
    Presence(folder).clear([])
    assert not folder.exists()
