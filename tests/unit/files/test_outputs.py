"""Taking an output into the content store: moved, whole, and a regular file of its own."""

import os
import pathlib
import socket
import stat
from collections.abc import Callable

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors, output
from support.files_stored import DATA, HASH, files


def test_an_output_is_moved_in_without_being_copied(
    store: content.ContentStore, root: pathlib.Path, produced: pathlib.Path
) -> None:
    inode = produced.stat().st_ino
    taken = store.take(produced)
    assert taken == content.StoredContent(file_hash=HASH, size_bytes=len(DATA))
    path = store.find(HASH)
    assert path is not None
    assert path.stat().st_ino == inode
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert not produced.exists()
    assert files(root) == [path]


def test_an_output_that_is_stored_already_is_removed(
    store: content.ContentStore, root: pathlib.Path, produced: pathlib.Path
) -> None:
    store.put(DATA)
    assert store.take(produced).file_hash == HASH
    assert not produced.exists()
    assert files(root) == [store.find(HASH)]


def test_an_output_can_be_kept_so_that_taking_it_again_gives_the_same(
    store: content.ContentStore, produced: pathlib.Path
) -> None:
    first = store.take(produced, keep_source=True)
    assert produced.read_bytes() == DATA
    assert store.take(produced, keep_source=True) == first
    assert store.take(produced) == first
    assert not produced.exists()
    assert store.is_intact(HASH)


def test_an_output_that_cannot_be_linked_is_copied(
    store: content.ContentStore,
    root: pathlib.Path,
    produced: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert store.take(produced).file_hash == HASH
    assert not produced.exists()
    assert store.is_intact(HASH)
    assert files(root) == [store.find(HASH)]


def test_an_empty_output_is_taken(store: content.ContentStore, produced: pathlib.Path) -> None:
    produced.write_bytes(b"")
    taken = store.take(produced)
    assert taken.size_bytes == 0
    assert store.is_intact(taken.file_hash)


def test_an_output_of_many_pieces_is_taken(
    store: content.ContentStore, produced: pathlib.Path
) -> None:
    produced.write_bytes(b"y" * (3 * 1024 * 1024 + 1))
    assert store.is_intact(store.take(produced).file_hash)


def test_an_output_over_the_limit_is_refused_and_left(
    store: content.ContentStore, root: pathlib.Path, produced: pathlib.Path
) -> None:
    with pytest.raises(base_errors.LimitExceededError) as raised:
        store.take(produced, max_bytes=len(DATA) - 1)
    assert (raised.value.limit, raised.value.actual) == ("output_size_bytes", len(DATA))
    assert produced.exists()
    assert files(root) == []
    assert store.take(produced, max_bytes=len(DATA)).size_bytes == len(DATA)


def test_an_output_that_is_missing_is_told(
    store: content.ContentStore, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(base_errors.NotFoundError, match="output 'stdout' not found"):
        store.take(tmp_path / "stdout")


def _fifo(path: pathlib.Path) -> None:
    os.mkfifo(path)


def _link(path: pathlib.Path) -> None:
    path.with_name("target").write_bytes(DATA)
    path.symlink_to("target")


def _dangling_link(path: pathlib.Path) -> None:
    path.symlink_to("nowhere")


def _folder(path: pathlib.Path) -> None:
    path.mkdir()


def _socket(path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize("make", [_fifo, _link, _dangling_link, _folder, _socket])
def test_an_output_that_is_no_regular_file_is_refused(
    store: content.ContentStore,
    root: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[pathlib.Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(pathlib.Path("stdout"))
    with pytest.raises(errors.OutputRefusedError, match="not a regular file"):
        store.take(pathlib.Path("stdout"))
    assert files(root) == []


def test_an_output_that_grows_while_it_is_read_is_refused(
    store: content.ContentStore,
    root: pathlib.Path,
    produced: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = os.read

    def read_while_growing(descriptor: int, size: int) -> bytes:
        with produced.open("ab") as file:
            file.write(b"more")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_while_growing)
    with pytest.raises(errors.OutputRefusedError, match="changed while it was read"):
        store.take(produced)
    assert files(root) == []


def test_of_an_output_that_was_replaced_meanwhile_the_measured_bytes_are_stored(
    store: content.ContentStore,
    root: pathlib.Path,
    produced: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = output.measure

    def measure_and_replace(
        descriptor: int, max_bytes: int | None, check: Callable[[], None]
    ) -> tuple[str, int]:
        measured = measure(descriptor, max_bytes, check)
        produced.unlink()
        produced.write_bytes(b"evil bytes")
        return measured

    monkeypatch.setattr(output, "measure", measure_and_replace)
    assert store.take(produced).file_hash == HASH
    assert store.is_intact(HASH)
    assert files(root) == [store.find(HASH)]
