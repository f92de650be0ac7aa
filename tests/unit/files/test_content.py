"""The content store: what is stored is whole, and what fails leaves nothing."""

import hashlib
import pathlib
import stat
import threading
from collections.abc import Callable, Iterable

import pytest

from dshpc_server import errors as base_errors
from dshpc_server.files import content, errors
from support.files_stored import DATA, HASH, files

OTHER_HASH = hashlib.sha256(b"other").hexdigest()
NO_HASHES = [
    "",
    "../../etc/passwd",
    HASH.upper(),
    HASH[:-1],
    HASH + "0",
    "../" + HASH[3:],
    HASH[:-1] + "\n",
    HASH[:-1] + "\0",
    HASH[:-1] + "٣",
]


def test_what_is_put_is_found_under_its_hash_read_only(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    assert store.put(DATA) == HASH
    path = store.find(HASH)
    assert path == root / HASH[:2] / HASH[2:4] / HASH
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert files(root) == [path]


def test_what_is_stored_is_found_after_a_restart(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    store.put(DATA)
    assert content.ContentStore(root).find(HASH) is not None


def test_the_same_content_is_stored_once(store: content.ContentStore, root: pathlib.Path) -> None:
    store.put(DATA)
    path = store.find(HASH)
    assert path is not None
    before = path.stat()
    store.put(DATA)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert files(root) == [path]


def test_nothing_is_content_too(store: content.ContentStore) -> None:
    file_hash = store.put(b"")
    with store.open(file_hash) as file:
        assert file.read() == b""
    with store.receive(file_hash, 0) as receipt:
        assert receipt.commit() is True


def test_what_is_not_stored_is_not_found(store: content.ContentStore) -> None:
    assert store.find(HASH) is None
    with pytest.raises(base_errors.NotFoundError, match=HASH):
        store.open(HASH)


def test_the_missing_are_told_in_the_order_asked_and_each_once(store: content.ContentStore) -> None:
    stored = store.put(DATA)
    absent = [f"{n:064x}" for n in range(3)]
    asked = [absent[2], stored, absent[0], absent[2], stored, absent[1]]
    assert store.missing(asked) == [absent[2], absent[0], absent[1]]


@pytest.mark.parametrize("text", NO_HASHES)
def test_what_is_no_hash_never_becomes_a_path(
    store: content.ContentStore, root: pathlib.Path, text: str
) -> None:
    (root.parent / "etc").mkdir()
    (root.parent / "etc/passwd").write_text("secret")
    assert store.find(text) is None
    assert store.missing([text]) == [text]
    assert not store.is_intact(text)
    for ask in (store.open, store.committed_bytes, store.remove):
        with pytest.raises(errors.NotAHashError):
            ask(text)
    with pytest.raises(errors.NotAHashError) as raised:
        store.receive(text, 3)
    assert [violation.field for violation in raised.value.violations] == ["file_hash"]
    assert files(root) == []


def test_content_that_lost_its_end_is_replaced_when_it_comes_again(
    store: content.ContentStore,
) -> None:
    store.put(DATA)
    path = store.find(HASH)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(DATA[:3])
    assert not store.is_intact(HASH)
    store.put(DATA)
    assert store.is_intact(HASH)


def test_walking_tells_every_hash_in_order_and_nothing_else(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    stored = sorted(store.put(f"{n}".encode()) for n in range(20))
    (root / HASH[:2] / HASH[2:4]).mkdir(parents=True, exist_ok=True)
    (root / HASH[:2] / HASH[2:4] / OTHER_HASH).write_text("in the wrong folder")
    (root / HASH[:2] / HASH[2:4] / "notes").write_text("no hash")
    with store.receive(HASH, 100) as receipt:
        receipt.write(b"still coming")
        assert list(store.walk()) == stored


def test_what_is_removed_is_gone_and_can_be_stored_again(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    store.put(DATA)
    assert store.remove(HASH)
    assert store.find(HASH) is None
    assert files(root) == []
    assert not store.remove(HASH)
    assert store.put(DATA) == HASH
    assert store.is_intact(HASH)


def test_who_reads_what_is_removed_reads_on(store: content.ContentStore) -> None:
    store.put(DATA)
    with store.open(HASH) as file:
        assert file.read(4) == DATA[:4]
        store.remove(HASH)
        assert file.read() == DATA[4:]


def test_changed_bytes_are_not_intact(store: content.ContentStore) -> None:
    store.put(DATA)
    assert store.is_intact(HASH)
    path = store.find(HASH)
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(DATA[::-1])
    assert not store.is_intact(HASH)
    assert not store.is_intact(OTHER_HASH)


def test_an_upload_is_visible_only_when_it_is_committed(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with store.receive(HASH, len(DATA)) as receipt:
        receipt.write(DATA[:4])
        receipt.write(b"")
        receipt.write(DATA[4:])
        assert receipt.received_bytes == len(DATA)
        assert store.find(HASH) is None
        assert receipt.commit() is False
    path = store.find(HASH)
    assert path is not None
    assert path.read_bytes() == DATA
    assert files(root) == [path]


def test_an_upload_of_stored_content_says_so(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    store.put(DATA)
    with store.receive(HASH, len(DATA)) as receipt:
        receipt.write(DATA)
        assert receipt.commit() is True
    assert files(root) == [store.find(HASH)]


def test_an_upload_that_has_ended_takes_nothing_more(store: content.ContentStore) -> None:
    with store.receive(HASH, len(DATA)) as receipt:
        receipt.write(DATA)
    with pytest.raises(ValueError, match="has ended"):
        receipt.write(b"")


def test_a_wrong_hash_is_refused_and_leaves_nothing(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with store.receive(HASH, len(DATA)) as receipt:
        receipt.write(DATA[::-1])
        with pytest.raises(errors.WrongHashError) as raised:
            receipt.commit()
    assert raised.value.announced == HASH
    assert raised.value.actual == hashlib.sha256(DATA[::-1]).hexdigest()
    assert [violation.field for violation in raised.value.violations] == ["header.file_hash"]
    assert files(root) == []


def test_fewer_bytes_than_announced_are_refused_and_leave_nothing(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with store.receive(HASH, len(DATA) + 1) as receipt:
        receipt.write(DATA)
        with pytest.raises(errors.WrongSizeError, match="fewer") as raised:
            receipt.commit()
    assert [violation.field for violation in raised.value.violations] == ["header.size_bytes"]
    assert files(root) == []


def test_more_bytes_than_announced_are_refused_at_once_and_leave_nothing(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    with store.receive(HASH, len(DATA) - 1) as receipt:
        receipt.write(DATA[:2])
        with pytest.raises(errors.WrongSizeError, match="more"):
            receipt.write(DATA[2:])
        assert receipt.received_bytes == 2
    assert files(root) == []


@pytest.mark.parametrize("error", [OSError("no disk"), errors.NotAHashError()])
def test_a_failing_disk_or_a_refused_message_leaves_nothing(
    store: content.ContentStore, root: pathlib.Path, error: Exception
) -> None:
    receipt = store.receive(HASH, len(DATA))
    receipt.write(DATA[:2])
    receipt.__exit__(type(error), error, None)
    assert files(root) == []


def test_a_negative_size_is_refused(store: content.ContentStore) -> None:
    with pytest.raises(errors.WrongSizeError):
        store.receive(HASH, -1)


def test_two_uploads_of_one_content_at_one_time_both_succeed(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    data = b"x" * 300_000
    file_hash = hashlib.sha256(data).hexdigest()
    together = threading.Barrier(4)
    answers: list[bool] = []

    def upload() -> None:
        with store.receive(file_hash, len(data)) as receipt:
            receipt.write(data)
            together.wait(timeout=30)
            answers.append(receipt.commit())

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [False, True, True, True]
    assert store.is_intact(file_hash)
    assert files(root) == [store.find(file_hash)]


def test_many_threads_storing_many_things_store_them_all(
    store: content.ContentStore, root: pathlib.Path
) -> None:
    together = threading.Barrier(4)

    def store_all(order: Callable[[range], Iterable[int]]) -> None:
        together.wait(timeout=30)
        for n in order(range(40)):
            store.put(f"{n}".encode())

    threads = [
        threading.Thread(target=store_all, args=(order,))
        for order in (list, reversed, list, reversed)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(root)) == 40
    assert all(store.is_intact(file_hash) for file_hash in store.walk())
