"""Taking an output from a disk that does not give it back, or while the server stops."""

import errno
import os
import pathlib

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors
from support.files_stored import files


def test_taking_an_output_can_be_stopped_between_two_pieces_and_leaves_it_where_it_was(
    store: content.ContentStore, root: pathlib.Path, produced: pathlib.Path
) -> None:
    data = b"y" * (3 * 1024 * 1024)
    produced.write_bytes(data)
    calls: list[int] = []

    def stop_at_the_second() -> None:
        calls.append(0)
        if len(calls) == 2:
            raise base_errors.UnavailableError("stopping", retry_after_seconds=1.0)

    with pytest.raises(base_errors.UnavailableError, match="stopping"):
        store.take(produced, check=stop_at_the_second)
    assert produced.read_bytes() == data
    assert files(root) == []
    assert store.take(produced, check=lambda: calls.append(0)).size_bytes == len(data)
    assert len(calls) == 5


@pytest.mark.parametrize("name", ["open", "read"])
def test_an_output_that_the_disk_does_not_give_back_is_refused_and_names_no_path(
    store: content.ContentStore,
    root: pathlib.Path,
    produced: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(produced))

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fail)
        with pytest.raises(errors.OutputRefusedError) as raised:
            store.take(produced)
    assert str(raised.value) == "the output could not be read: Input/output error"
    assert files(root) == []
    assert produced.exists()


def test_an_output_that_can_be_read_no_more_while_it_is_copied_is_refused(
    store: content.ContentStore, produced: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: object, **_options: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    read, reads = os.read, []

    def fail_the_third(descriptor: int, size: int) -> bytes:
        reads.append(descriptor)
        if len(reads) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    monkeypatch.setattr(os, "link", not_here)
    monkeypatch.setattr(os, "read", fail_the_third)
    with pytest.raises(errors.OutputRefusedError, match="could not be read"):
        store.take(produced)
    assert produced.exists()
