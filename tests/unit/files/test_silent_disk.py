"""A content store whose disk does not answer: nothing is missing that is only not seen."""

import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server import disk, errors
from dshpc_server.files import content
from support import files_uploads
from support.files_uploads import DATA, HASH

ABSENT = "0" * 64
SILENT = [errno.EIO, errno.EACCES, errno.ESTALE, errno.ELOOP, errno.ETIMEDOUT]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "content"


@pytest.fixture
def store(root: pathlib.Path) -> content.ContentStore:
    store = content.ContentStore(root)
    store.put(DATA)
    return store


def silence(monkeypatch: pytest.MonkeyPatch, number: int, below: pathlib.Path) -> None:
    """Have every question about what is below a path fail."""

    def failing(call: Callable[..., object]) -> Callable[..., object]:
        def ask(path: object, *args: object, **options: object) -> object:
            if str(path).startswith(str(below)):
                raise OSError(number, os.strerror(number), str(path))
            return call(path, *args, **options)

        return ask

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    monkeypatch.setattr("io.open", failing(open))


def opened(store: content.ContentStore) -> bytes:
    with store.open(HASH) as file:
        return file.read()


QUESTIONS: dict[str, Callable[[content.ContentStore], object]] = {
    "find": lambda store: store.find(HASH),
    "missing": lambda store: store.missing([ABSENT, HASH]),
    "open": opened,
    "committed_bytes": lambda store: store.committed_bytes(HASH),
    "is_intact": lambda store: store.is_intact(HASH),
}


@pytest.mark.parametrize("number", SILENT, ids=errno.errorcode.get)
@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_what_a_disk_does_not_tell_of_is_not_missing(
    store: content.ContentStore,
    root: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[content.ContentStore], object],
    number: int,
) -> None:
    with monkeypatch.context() as patched:
        silence(patched, number, root / HASH[:2])
        with pytest.raises(errors.NoAnswerError) as raised:
            ask(store)
    assert str(root) not in str(raised.value)
    assert ask(store) is not None
    assert store.missing([ABSENT, HASH]) == [ABSENT]


def test_a_folder_that_is_not_there_holds_nothing(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    (root / "00").write_text("a file in the place of a folder")
    assert store.missing([ABSENT, "1" * 64, HASH]) == [ABSENT, "1" * 64]
    assert store.find(ABSENT) is None
    assert store.remove(ABSENT) is False
    with pytest.raises(errors.NotFoundError):
        store.open(ABSENT)


@pytest.mark.parametrize("is_left", [True, False], ids=["empty", "gone"])
def test_where_the_whole_store_is_gone_its_disk_is_away_and_nothing_is_missing(
    store: content.ContentStore, root: pathlib.Path, *, is_left: bool
) -> None:
    root.rename(root.with_name("elsewhere"))
    if is_left:
        root.mkdir()
    for ask in (store.find, store.open, lambda file_hash: store.missing([file_hash])):
        with pytest.raises(errors.NoAnswerError):
            ask(HASH)
    if is_left:
        root.rmdir()
    root.with_name("elsewhere").rename(root)
    assert store.find(HASH) is not None
    assert store.missing([]) == []


def test_each_hash_costs_one_question_and_absence_one_more_for_all(
    store: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    stat = os.stat

    def counted(path: str | pathlib.Path, *, follow_symlinks: bool) -> os.stat_result:
        asked.append(path)
        return stat(path, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", counted)
        assert store.missing([HASH] * 3) == []
        assert len(asked) == 1
        assert len(store.missing([f"{n:064x}" for n in range(10)])) == 10
    assert len(asked) == 1 + 10 + 1
    assert asked[-1] == root / "incoming"


def test_a_store_that_was_put_back_without_its_empty_folders_is_there(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    (root / "incoming").rmdir()
    assert store.missing([ABSENT, HASH]) == [ABSENT]


def test_an_upload_while_the_disk_does_not_tell_what_is_there_is_put_off(
    store: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"something else"
    with monkeypatch.context() as patched:
        silence(patched, errno.EIO, root)
        with pytest.raises(errors.UnavailableError):
            store.put(other)
    file_hash = store.put(other)
    assert store.is_intact(file_hash)


def test_a_start_while_the_disk_does_not_tell_what_is_stored_keeps_what_has_come(
    store: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.remove(HASH)
    files_uploads.cut(store, DATA[:100])
    with monkeypatch.context() as patched:
        silence(patched, errno.EIO, root / HASH[:2])
        content.ContentStore(root)
    assert content.ContentStore(root).committed_bytes(HASH) == 100


def test_a_folder_that_somebody_else_has_just_made_is_made_durable_once(
    store: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it may have died before its name was."""
    store.remove(HASH)
    level = root / HASH[:2]
    assert (level / HASH[2:4]).is_dir()
    fsynced: list[pathlib.Path] = []
    fsync = disk.fsync_folder

    def seen(folder: pathlib.Path) -> None:
        fsynced.append(folder)
        fsync(folder)

    other = content.ContentStore(root)
    monkeypatch.setattr(disk, "fsync_folder", seen)
    other.put(DATA)
    assert fsynced == [root, level, level / HASH[2:4]]
    other.remove(HASH)
    fsynced.clear()
    other.put(DATA)
    assert fsynced == [level / HASH[2:4]]
