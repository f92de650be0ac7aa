"""The n-th call to the disk fails, for every n: nothing visible, nothing left, the next try works.

Of an upload that found no room what came is left, and the next try goes on with it. The loop ends
with the first n that is never reached, so every call is failed once.
"""

import errno
import hashlib
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content

DATA = b"z" * 3_000
HASH = hashlib.sha256(DATA).hexdigest()
CALLS = ("write", "fsync", "rename", "mkdir", "link", "fchmod")
Way = Callable[[content.ContentStore, pathlib.Path], None]
FAILING = "the disk does not take it"
SAID = {
    errno.ENOSPC: "there is no room on disk",
    errno.EDQUOT: "there is no room on disk",
    errno.EIO: f"{FAILING}: Input/output error",
    errno.EROFS: f"{FAILING}: Read-only file system",
}


class Disk:
    """Counts calls to the disk and fails one of them."""

    def __init__(self, error_number: int, failing: int) -> None:
        self._error_number = error_number
        self._failing = failing
        self.calls = 0

    @property
    def has_failed(self) -> bool:
        return self.calls >= self._failing

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counting(getattr(os, name)))

    def _counting(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            self.calls += 1
            if self.calls == self._failing:
                raise OSError(self._error_number, os.strerror(self._error_number))
            return call(*args, **options)

        return counted


def put(store: content.ContentStore, _source: pathlib.Path) -> None:
    store.put(DATA)


def receive(store: content.ContentStore, _source: pathlib.Path) -> None:
    offset = store.committed_bytes(HASH)
    with store.receive(HASH, len(DATA), offset) as receipt:
        for first in range(offset, len(DATA), 1_000):
            receipt.write(DATA[first : first + 1_000])
        receipt.commit()


def take(store: content.ContentStore, source: pathlib.Path) -> None:
    store.take(source)


@pytest.mark.parametrize("error_number", SAID, ids=errno.errorcode.get)
@pytest.mark.parametrize(("way", "calls"), [(put, 9), (receive, 11), (take, 9)])
def test_whichever_call_fails_nothing_is_visible_or_left_and_the_next_try_works(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Way,
    calls: int,
    error_number: int,
) -> None:
    failing = 0
    while True:
        # A fresh folder each time: what an earlier try made would spare later ones some calls.
        failing += 1
        root, source = tmp_path / f"content{failing}", tmp_path / f"stdout{failing}"
        store = content.ContentStore(root)
        source.write_bytes(DATA)
        disk = Disk(error_number, failing)
        with monkeypatch.context() as patched:
            disk.install(patched)
            error = failure_of(way, store, source)
        if error is None:
            break

        assert isinstance(error, base_errors.NoRoomError)
        assert str(error) == SAID[error_number]
        assert error.retry_after_seconds > 0
        assert store.find(HASH) is None
        left = [path for path in root.rglob("*") if path.is_file()]
        if way is receive and error_number in (errno.ENOSPC, errno.EDQUOT):
            assert [path.read_bytes() for path in left] == received_before(failing)
        else:
            assert left == []
        assert source.read_bytes() == DATA
        assert failure_of(way, store, source) is None
        assert store.is_intact(HASH)
        assert list((root / "incoming").iterdir()) == []
        assert store.committed_bytes(HASH) == len(DATA)
        assert source.exists() == (way is not take)

    assert not disk.has_failed
    assert disk.calls == calls == failing - 1


def received_before(failing: int) -> list[bytes]:
    """What an upload has on disk when this call of it fails: its first calls are its writes."""
    received = DATA[: min(len(DATA), (failing - 1) * 1_000)]
    return [received] if received else []


def failure_of(way: Way, store: content.ContentStore, source: pathlib.Path) -> Exception | None:
    try:
        way(store, source)
    except (OSError, base_errors.UnavailableError) as error:
        return error
    return None


def test_a_short_write_is_continued(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    store = content.ContentStore(tmp_path)
    store.put(DATA)
    assert store.is_intact(HASH)


def test_a_full_disk_is_told_with_when_to_try_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = content.ContentStore(tmp_path)
    with monkeypatch.context() as patched:
        Disk(errno.ENOSPC, 1).install(patched)
        with pytest.raises(base_errors.UnavailableError) as raised:
            store.put(DATA)
    assert raised.value.retry_after_seconds > 0
