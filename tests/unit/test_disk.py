"""What a disk says of a path: only its own word that nothing is there counts as that."""

import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server import disk, errors

SILENT = [errno.EIO, errno.EACCES, errno.ESTALE, errno.ELOOP, errno.ETIMEDOUT, errno.EMFILE]
SECRET = "/secret/place"


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), SECRET)

    return fail


def test_what_is_there_is_told_and_what_is_not_is_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "link").symlink_to("nowhere")
    found = disk.status(tmp_path / "file")
    assert found is not None
    assert found.st_size == 4
    assert disk.status(tmp_path / "absent") is None
    assert disk.status(tmp_path / "file" / "below") is None
    assert disk.status(tmp_path / "link") is not None
    assert disk.status(tmp_path / "link", follow=True) is None


@pytest.mark.parametrize("number", SILENT, ids=errno.errorcode.get)
def test_every_other_failure_says_nothing_and_names_no_path(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "stat", failing(number))
    with pytest.raises(errors.NoAnswerError) as raised:
        disk.status("anything")
    assert str(raised.value) == f"the disk does not answer: {os.strerror(number)}"
    assert raised.value.retry_after_seconds > 0
    assert isinstance(raised.value, errors.UnavailableError)
    with pytest.raises(errors.NoAnswerError), disk.asked():
        failing(number)()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR], ids=errno.errorcode.get)
def test_absence_passes_through_a_question(number: int) -> None:
    with pytest.raises(disk.ABSENT), disk.asked():
        failing(number)()


def test_a_folder_is_made_with_those_above_it_and_each_name_is_durable(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsynced: list[pathlib.Path] = []
    monkeypatch.setattr(disk, "fsync_folder", fsynced.append)
    disk.make_folder(tmp_path / "a" / "b" / "c", 0o700)
    assert fsynced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    disk.make_folder(tmp_path / "a" / "b" / "c")
    assert len(fsynced) == 3


def test_a_folder_whose_name_cannot_be_made_durable_is_not_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            disk.make_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    disk.make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()
