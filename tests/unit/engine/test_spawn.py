"""Looking a command up: what the disk does not tell of is not known to be missing."""

import errno
import os
import pathlib

import pytest

from dshpc_server.engine.local import facts, spawn

WORD = "a-command"


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    """The folders of a PATH; the last has the command."""
    made = [tmp_path / name for name in ("first", "second")]
    for folder in made:
        folder.mkdir()
    (made[1] / WORD).write_text("#!/bin/sh\n")
    (made[1] / WORD).chmod(0o755)
    return made


def path_of(folders: list[pathlib.Path]) -> str:
    return os.pathsep.join(map(str, folders))


def found(folders: list[pathlib.Path]) -> str:
    return spawn._which(WORD, path_of(folders))


def silence(monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path, number: int) -> None:
    stat = os.stat

    def failing(path: str) -> os.stat_result:
        if path.startswith(str(folder)):
            raise OSError(number, os.strerror(number))
        return stat(path)

    monkeypatch.setattr(os, "stat", failing)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOENT])
def test_a_command_is_found_behind_a_folder_that_tells_nothing(
    folders: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    silence(monkeypatch, folders[0], number)
    assert found(folders) == str(folders[1] / WORD)


@pytest.mark.parametrize(
    ("number", "is_permanent"),
    [(errno.EIO, False), (errno.ESTALE, False), (errno.EACCES, True), (errno.ENOENT, True)],
)
def test_a_command_that_is_nowhere_is_missing_only_if_every_folder_says_so(
    folders: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch, number: int, *, is_permanent: bool
) -> None:
    silence(monkeypatch, folders[1], number)
    with pytest.raises(OSError, match=r".") as raised:
        found(folders)
    assert facts.not_started("a.1", raised.value)["is_permanent"] is is_permanent
    assert ("command not found" in str(raised.value)) is is_permanent


def test_what_cannot_be_executed_is_no_command(folders: list[pathlib.Path]) -> None:
    (folders[0] / WORD).mkdir()
    (folders[1] / WORD).chmod(0o644)
    with pytest.raises(FileNotFoundError, match=f"command not found: {WORD}"):
        found(folders)
