"""Uploads that are cut and gone on with: what came is kept, and never mixed up."""

import errno
import hashlib
import os
import pathlib

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors
from support import files_uploads
from support.files_uploads import DATA, HASH, WRONG


@pytest.fixture
def kept(root: pathlib.Path) -> pathlib.Path:
    """Where what came of an upload is kept."""
    return root / "incoming" / HASH


@pytest.mark.parametrize("count", [1, 100, len(DATA)])
def test_what_came_of_an_upload_that_was_cut_is_kept_and_gone_on_with(
    store: content.ContentStore, root: pathlib.Path, kept: pathlib.Path, count: int
) -> None:
    assert store.committed_bytes(HASH) == 0
    files_uploads.cut(store, DATA[:count])
    assert store.committed_bytes(HASH) == count
    assert kept.read_bytes() == DATA[:count]
    assert store.find(HASH) is None
    assert files_uploads.finish(store, count) is False
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []
    assert store.committed_bytes(HASH) == len(DATA)


def test_an_upload_is_gone_on_with_again_and_again(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    for first in range(0, len(DATA), 7):
        assert store.committed_bytes(HASH) == first
        files_uploads.cut(store, DATA[first : first + 7], first)
    assert files_uploads.finish(store, len(DATA)) is False
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_going_on_from_before_the_end_drops_what_is_beyond(
    store: content.ContentStore, kept: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA[:50] + WRONG[:100])
    with files_uploads.receive(store, 50) as coming:
        assert coming.received_bytes == store.committed_bytes(HASH) == 50
        assert kept.read_bytes() == DATA[:50]
        coming.write(DATA[50:])
        coming.commit()
    assert store.is_intact(HASH)


@pytest.mark.parametrize("committed", [0, 100])
def test_going_on_from_beyond_what_is_committed_is_refused_and_changes_nothing(
    store: content.ContentStore, root: pathlib.Path, committed: int
) -> None:
    files_uploads.cut(store, DATA[:committed])
    before = files_uploads.incoming(root)
    with pytest.raises(errors.WrongOffsetError, match=f"101.*committed, {committed} bytes") as said:
        files_uploads.receive(store, 101)
    assert [violation.field for violation in said.value.violations] == ["header.write_offset"]
    assert said.value.committed_bytes == committed
    assert store.committed_bytes(HASH) == committed
    assert files_uploads.incoming(root) == before
    assert files_uploads.finish(store, committed) is False


def test_going_on_with_what_is_stored_says_so(store: content.ContentStore) -> None:
    store.put(DATA)
    with pytest.raises(errors.StoredMeanwhileError):
        files_uploads.receive(store, 10)


def test_beginning_anew_leaves_more_that_is_kept_until_it_has_more_itself(
    store: content.ContentStore, root: pathlib.Path, kept: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA[:100])
    with files_uploads.receive(store) as coming:
        coming.write(DATA[:90])
        assert store.committed_bytes(HASH) == 100
        assert len(files_uploads.incoming(root)) == 2
        coming.write(DATA[90:110])
        assert store.committed_bytes(HASH) == 110
        assert files_uploads.incoming(root) == [HASH]
    assert kept.read_bytes() == DATA[:110]


def test_beginning_anew_and_being_cut_earlier_leaves_what_is_kept(
    store: content.ContentStore, root: pathlib.Path, kept: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA[:100])
    files_uploads.cut(store, DATA[:90])
    assert files_uploads.incoming(root) == [HASH]
    assert kept.read_bytes() == DATA[:100]


def test_an_upload_begun_anew_that_is_whole_removes_what_is_kept(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(store, WRONG)
    assert files_uploads.finish(store, 0) is False
    assert store.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_an_upload_that_nobody_goes_on_with_leaves_nothing_when_no_byte_came(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(store, b"")
    assert files_uploads.incoming(root) == []


def test_wrong_bytes_are_forgotten_when_they_are_whole_and_a_fresh_upload_works(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(store, WRONG[:100])
    with pytest.raises(errors.WrongHashError):
        files_uploads.finish(store, 100)
    assert files_uploads.incoming(root) == []
    assert store.committed_bytes(HASH) == 0
    assert files_uploads.finish(store, 0) is False
    assert store.is_intact(HASH)


@pytest.mark.parametrize("offset", [0, 1])
def test_an_empty_file_has_nothing_to_go_on_with(store: content.ContentStore, offset: int) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    if offset:
        with pytest.raises(errors.WrongOffsetError):
            store.receive(empty, 0, offset)
    with store.receive(empty, 0) as coming:
        assert coming.commit() is False
    assert store.is_intact(empty)


@pytest.mark.parametrize("error_number", [errno.ENOSPC, errno.EDQUOT])
def test_without_room_what_came_is_kept_even_half_a_chunk(
    store: content.ContentStore,
    kept: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    error_number: int,
) -> None:
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        room = 40 - os.fstat(descriptor).st_size
        if room <= 0:
            raise OSError(error_number, os.strerror(error_number))
        return write(descriptor, data[:room])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(base_errors.UnavailableError) as raised:
            files_uploads.finish(store, 0)
    assert raised.value.retry_after_seconds > 0
    assert kept.read_bytes() == DATA[:40]
    assert files_uploads.finish(store, 40) is False
    assert store.is_intact(HASH)


def test_a_restart_keeps_what_can_be_gone_on_with_and_removes_the_rest(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA[:100])
    stored = store.put(b"stored")
    (root / "incoming" / stored).write_bytes(b"sto")
    (root / "incoming" / "tmpabc").write_bytes(b"half")
    (root / "incoming" / hashlib.sha256(b"link").hexdigest()).symlink_to(root / "nowhere")
    again = content.ContentStore(root)
    assert files_uploads.incoming(root) == [HASH]
    assert again.find(stored) is not None
    assert files_uploads.finish(again, 100) is False
    assert again.is_intact(HASH)


def test_what_a_killed_server_had_finished_but_not_published_is_gone_on_with(
    store: content.ContentStore, root: pathlib.Path, kept: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA)
    kept.chmod(0o444)
    again = content.ContentStore(root)
    assert files_uploads.finish(again, len(DATA)) is False
    assert again.is_intact(HASH)


def test_removing_content_removes_what_is_kept_of_it_but_not_what_is_coming(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(store, DATA[:100])
    assert store.remove(HASH)
    assert files_uploads.incoming(root) == []
    with files_uploads.receive(store) as coming:
        coming.write(DATA)
        assert not store.remove(HASH)
        assert coming.commit() is False
    assert store.is_intact(HASH)


def test_an_upload_of_what_was_stored_meanwhile_is_not_kept_when_it_is_cut(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(store) as coming:
        coming.write(DATA[:100])
        store.put(DATA)
    assert files_uploads.incoming(root) == []
