"""What retention needs: how much is stored since when, and removing much of it at once."""

import datetime
import errno
import hashlib
import os
import pathlib

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors
from support.files_stored import DATA, files


def test_what_is_stored_is_told_with_its_size_and_age(store: content.ContentStore) -> None:
    old, new = store.put(b"old"), store.put(b"newer")
    path = store.find(old)
    assert path is not None
    os.utime(path, (1_000.0, 1_000.0))
    told = {usage.file_hash: usage for usage in store.usage()}
    assert list(told) == sorted([old, new]) == list(store.walk())
    assert (told[old].size_bytes, told[new].size_bytes) == (3, 5)
    assert told[old].modified_at == datetime.datetime.fromtimestamp(1_000, datetime.UTC)
    assert told[new].modified_at > told[old].modified_at


def test_what_is_removed_while_the_usage_is_told_is_passed_over(
    store: content.ContentStore,
) -> None:
    hashes = sorted(store.put(str(number).encode()) for number in range(20))
    telling = store.usage()
    assert next(telling).file_hash == hashes[0]
    store.remove_many(hashes[1:])
    assert list(telling) == []


def test_many_are_removed_at_once_and_those_that_were_there_are_told(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    hashes = [store.put(str(number).encode()) for number in range(20)]
    gone = hashlib.sha256(b"gone").hexdigest()
    assert store.remove_many([*hashes[5:], gone, hashes[5]]) == hashes[5:]
    assert sorted(store.walk()) == sorted(hashes[:5])
    assert len(files(root)) == 5


def test_of_many_to_be_removed_one_that_is_no_hash_refuses_all(store: content.ContentStore) -> None:
    file_hash = store.put(DATA)
    with pytest.raises(errors.NotAHashError):
        store.remove_many([file_hash, "../x"])
    assert store.is_intact(file_hash)


def test_removing_from_a_disk_that_fails_is_told_as_such(
    store: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_hash = store.put(DATA)

    def fail(_: object, *_options: object, **_more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(base_errors.NoRoomError, match="does not take it"):
        store.remove(file_hash)
