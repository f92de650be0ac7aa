"""Uploads of one content at one time: one of them holds what is kept, and it can be taken over when
nothing more comes of it."""

import errno
import os
import pathlib
import threading
from collections.abc import Callable

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors, partial, receipt
from support import files_uploads, methods_site
from support.files_uploads import DATA, DEADLINE_SECONDS, HASH


@pytest.fixture
def clock() -> methods_site.HandClock:
    return methods_site.HandClock()


@pytest.fixture
def store(root: pathlib.Path, clock: methods_site.HandClock) -> content.ContentStore:
    return content.ContentStore(root, clock=clock)


@pytest.fixture
def kept(root: pathlib.Path) -> pathlib.Path:
    """Where what came of an upload is kept."""
    return root / "incoming" / HASH


def test_of_parallel_uploads_the_one_that_is_cut_last_with_more_is_kept(
    store: content.ContentStore, root: pathlib.Path, kept: pathlib.Path
) -> None:
    first, second = files_uploads.receive(store), files_uploads.receive(store)
    with second:
        with first:
            first.write(DATA[:10])
            second.write(DATA[:30])
            assert store.committed_bytes(HASH) == 10
        assert store.committed_bytes(HASH) == 10
    assert files_uploads.incoming(root) == [HASH]
    assert kept.read_bytes() == DATA[:30]


def test_an_upload_that_gets_ahead_of_what_is_kept_by_then_is_what_is_kept(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    first, second = files_uploads.receive(store), files_uploads.receive(store)
    with second:
        with first:
            first.write(DATA[:10])
        second.write(DATA[:10])
        assert len(files_uploads.incoming(root)) == 2
        second.write(DATA[10:11])
        assert files_uploads.incoming(root) == [HASH]


def test_an_upload_that_makes_progress_is_not_disturbed_by_one_that_goes_on_from_it(
    store: content.ContentStore, root: pathlib.Path, clock: methods_site.HandClock
) -> None:
    with files_uploads.receive(store) as first:
        first.write(DATA[:100])
        clock.advance(receipt.STALLED_SECONDS - 1)
        with files_uploads.receive(store, 60) as second:
            assert second.received_bytes == 60
            assert len(files_uploads.incoming(root)) == 2
            first.write(DATA[100:110])
            second.write(DATA[60:])
            assert second.commit() is False
        first.write(DATA[110:])
        assert first.commit() is True
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_who_goes_on_from_wrong_bytes_of_another_is_refused_and_disturbs_nobody(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(store) as wrong:
        wrong.write(files_uploads.WRONG[:100])
        with pytest.raises(errors.WrongHashError):
            files_uploads.finish(store, 100)
        assert store.committed_bytes(HASH) == 100
    assert files_uploads.finish(store, 0) is False
    assert files_uploads.incoming(root) == []


def test_an_upload_that_has_stalled_is_taken_over_and_its_next_write_says_so(
    store: content.ContentStore, root: pathlib.Path, clock: methods_site.HandClock
) -> None:
    with files_uploads.receive(store) as first:
        first.write(DATA[:100])
        clock.advance(receipt.STALLED_SECONDS)
        with files_uploads.receive(store, 60) as second:
            for act in (lambda: first.write(DATA[100:]), first.commit):
                with pytest.raises(base_errors.SupersededError, match="another call"):
                    act()
            second.write(DATA[60:])
            assert second.commit() is False
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_an_upload_that_was_taken_over_leaves_the_others_bytes_when_it_ends(
    store: content.ContentStore, kept: pathlib.Path, clock: methods_site.HandClock
) -> None:
    with files_uploads.receive(store) as first:
        first.write(DATA[:100])
        clock.advance(receipt.STALLED_SECONDS)
        second = files_uploads.receive(store, 60)
    assert kept.read_bytes() == DATA[:60]
    with second:
        second.write(DATA[60:])
        second.commit()
    assert store.is_intact(HASH)


def test_who_took_over_is_taken_over_in_turn(
    store: content.ContentStore, root: pathlib.Path, clock: methods_site.HandClock
) -> None:
    with files_uploads.receive(store) as first:
        first.write(DATA[:100])
        clock.advance(receipt.STALLED_SECONDS)
        with files_uploads.receive(store, 90) as second:
            clock.advance(receipt.STALLED_SECONDS)
            with files_uploads.receive(store, 80) as third:
                with pytest.raises(base_errors.SupersededError):
                    second.write(DATA[90:])
                third.write(DATA[80:])
                third.commit()
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_an_upload_is_taken_over_while_a_slow_disk_gives_back_what_is_kept(
    store: content.ContentStore,
    root: pathlib.Path,
    clock: methods_site.HandClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files_uploads.cut(store, DATA[:200])
    reading, taking_over = threading.Event(), threading.Event()
    read = os.read

    def slowly(descriptor: int, size: int) -> bytes:
        if not reading.is_set():
            reading.set()
            assert taking_over.wait(DEADLINE_SECONDS)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", slowly)
    supersede = receipt.Receipt.supersede

    def tell_and_supersede(superseded: receipt.Receipt) -> None:
        superseded._superseded = True
        taking_over.set()
        supersede(superseded)

    monkeypatch.setattr(receipt.Receipt, "supersede", tell_and_supersede)
    failures: list[BaseException] = []

    def go_on() -> None:
        try:
            files_uploads.receive(store, 150)
        except base_errors.SupersededError as error:
            failures.append(error)

    first = threading.Thread(target=go_on)
    first.start()
    assert reading.wait(DEADLINE_SECONDS)
    clock.advance(receipt.STALLED_SECONDS)
    assert files_uploads.finish(store, 140) is False
    first.join(DEADLINE_SECONDS)
    assert len(failures) == 1
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_who_takes_over_from_an_upload_that_is_being_stored_is_told_that_it_is(
    store: content.ContentStore,
    clock: methods_site.HandClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storing, let_go = threading.Event(), threading.Event()
    fsync = os.fsync

    def slowly(descriptor: int) -> None:
        storing.set()
        assert let_go.wait(DEADLINE_SECONDS)
        fsync(descriptor)

    supersede = receipt.Receipt.supersede

    def let_go_and_supersede(superseded: receipt.Receipt) -> None:
        let_go.set()
        supersede(superseded)

    monkeypatch.setattr(os, "fsync", slowly)
    monkeypatch.setattr(receipt.Receipt, "supersede", let_go_and_supersede)
    first = threading.Thread(target=files_uploads.finish, args=(store, 0))
    first.start()
    assert storing.wait(DEADLINE_SECONDS)
    clock.advance(receipt.STALLED_SECONDS)
    with pytest.raises(errors.StoredMeanwhileError):
        files_uploads.receive(store, 100)
    first.join(DEADLINE_SECONDS)
    assert store.is_intact(HASH)


def test_an_upload_that_is_being_cut_tells_what_came_until_it_has_let_go(
    store: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = partial.Partial.close
    told: list[int] = []

    def look_and_close(closed: partial.Partial) -> None:
        told.append(store.committed_bytes(HASH))
        close(closed)

    monkeypatch.setattr(partial.Partial, "close", look_and_close)
    files_uploads.cut(store, DATA[:100])
    assert told == [100]
    assert files_uploads.finish(store, 100) is False


def test_what_is_kept_on_a_bad_sector_is_begun_anew(
    store: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_uploads.cut(store, DATA[:100])

    def fail(_descriptor: int, _size: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail)
        with pytest.raises(base_errors.NoRoomError):
            files_uploads.receive(store, 100)
    assert store.committed_bytes(HASH) == 0
    assert files_uploads.incoming(root) == []
    assert files_uploads.finish(store, 0) is False


def test_eight_uploads_that_cut_each_other_off_leave_what_one_of_them_makes_whole(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    together = threading.Barrier(8)

    def upload() -> None:
        together.wait(DEADLINE_SECONDS)
        for _ in range(200):
            if _attempt(store) == "stored":
                return

    _run_all([upload] * 8)
    # Without a pause they may cut each other off to the last.
    assert _attempt(store) == "stored"
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def _attempt(store: content.ContentStore) -> str:
    """Go on from wherever this upload stands; how that ended."""
    try:
        offset = store.committed_bytes(HASH)
        if offset == len(DATA) and store.find(HASH) is not None:
            return "stored"
        with files_uploads.receive(store, offset) as coming:
            for first in range(offset, len(DATA), 25):
                coming.write(DATA[first : first + 25])
            coming.commit()
    except errors.StoredMeanwhileError:
        return "stored"
    except (base_errors.SupersededError, errors.WrongOffsetError) as error:
        return type(error).__name__
    return "stored"


def _run_all(acts: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
