"""Two servers on one folder: what one has in use the other leaves, and what both store is stored.

Two content stores stand for them: what they share is the folder alone.
"""

import contextlib
import datetime
import errno
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from dshpc_server import disk
from dshpc_server import errors as base_errors
from dshpc_server.files import content, folders, partial
from support import files_uploads
from support.files_uploads import DATA, DEADLINE_SECONDS, HASH

LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
FAR_AHEAD = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
HOLDING = """
import pathlib, sys
from dshpc_server.files import content
store = content.ContentStore(pathlib.Path(sys.argv[1]))
coming = store.receive(sys.argv[2], 250)
coming.write(bytes(range(100)))
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(root: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(root)


@pytest.fixture
def there(root: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(root)


@pytest.fixture
def kept(root: pathlib.Path) -> pathlib.Path:
    """Where what came of an upload is kept."""
    return root / "incoming" / HASH


@contextlib.contextmanager
def another_process(root: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds an upload of 100 bytes."""
    words = [sys.executable, "-c", HOLDING, str(root), HASH]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"holding\n"
        try:
            yield holding
        finally:
            holding.kill()


def test_a_start_leaves_what_another_server_has_in_use(
    here: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first, files_uploads.receive(here) as second:
        first.write(DATA[:10])
        second.write(DATA[:5])
        in_use = files_uploads.incoming(root)
        content.ContentStore(root)
        assert files_uploads.incoming(root) == in_use
        second.write(DATA[5:])
        assert second.commit() is False
        first.write(DATA[10:])
        assert first.commit() is True
    assert files_uploads.incoming(root) == []


def test_a_start_leaves_an_output_that_another_server_is_taking_in(
    here: content.ContentStore, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    produced = tmp_path / "stdout"
    produced.write_bytes(DATA)
    name = folders.name

    def start_and_name(path: pathlib.Path, new: pathlib.Path) -> bool:
        content.ContentStore(root).expire(FAR_AHEAD)
        assert len(files_uploads.incoming(root)) == 2
        return name(path, new)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folders, "name", start_and_name)
        assert here.take(produced).file_hash == HASH
    assert here.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_a_start_removes_what_a_killed_server_had_in_use(
    here: content.ContentStore, root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    produced = tmp_path / "stdout"
    produced.write_bytes(DATA)
    left = partial.Partial.temporary(root / "incoming")
    os.link(produced, left.path.with_suffix(".link"))
    (root / "incoming" / "tmpgone.link").write_bytes(b"")
    left.close()
    content.ContentStore(root)
    assert files_uploads.incoming(root) == []
    assert produced.read_bytes() == DATA
    assert here.find(HASH) is None


def test_a_start_meets_another_one(
    here: content.ContentStore, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del here
    for name in ("tmpa", "tmpb"):
        (root / "incoming" / name).write_bytes(b"left")
    seen = list((root / "incoming").iterdir())
    monkeypatch.setattr(pathlib.Path, "iterdir", lambda _: iter(seen))
    content.ContentStore(root)
    content.ContentStore(root)
    assert os.listdir(root / "incoming") == []  # noqa: PTH208 - pathlib's is patched


def test_only_what_no_server_holds_expires_or_is_forgotten(
    here: content.ContentStore, there: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first, files_uploads.receive(here) as second:
        first.write(DATA[:10])
        second.write(DATA[:5])
        assert there.expire(FAR_AHEAD) == []
        assert there.remove(HASH) is False
        assert len(files_uploads.incoming(root)) == 2
    assert there.expire(LONG_AGO) == []
    (root / "incoming" / "tmpleft").write_bytes(b"of a server that was killed")
    assert there.expire(FAR_AHEAD) == [HASH]
    assert files_uploads.incoming(root) == []


def test_an_upload_at_another_server_begins_under_a_name_of_its_own(
    here: content.ContentStore, there: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first:
        first.write(DATA[:10])
        with files_uploads.receive(there) as second:
            second.write(DATA[:200])
            assert len(files_uploads.incoming(root)) == 2
            assert there.committed_bytes(HASH) == 10
            second.write(DATA[200:])
            assert second.commit() is False
        first.write(DATA[10:])
        assert first.commit() is True
    assert there.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_who_goes_on_with_what_another_server_receives_copies_it_and_disturbs_nobody(
    here: content.ContentStore, there: content.ContentStore, root: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first:
        first.write(DATA[:100])
        assert there.committed_bytes(HASH) == 100
        with files_uploads.receive(there, 60) as second:
            first.write(DATA[100:])
            assert first.commit() is False
            second.write(DATA[60:])
            assert second.commit() is True
    assert here.is_intact(HASH)
    assert files_uploads.incoming(root) == []


def test_going_on_from_beyond_what_another_server_has_is_refused(
    here: content.ContentStore, there: content.ContentStore, kept: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first:
        first.write(DATA[:100])
        with pytest.raises(base_errors.InvalidRequestError, match="beyond what is committed"):
            files_uploads.receive(there, 101)
        first.write(DATA[100:110])
    assert kept.read_bytes() == DATA[:110]


def test_what_was_cut_at_one_server_is_gone_on_with_at_another(
    here: content.ContentStore, there: content.ContentStore, root: pathlib.Path
) -> None:
    files_uploads.cut(here, DATA[:100])
    with files_uploads.receive(there, 100) as coming:
        assert files_uploads.incoming(root) == [HASH]
        coming.write(DATA[100:])
        assert coming.commit() is False
    assert files_uploads.incoming(root) == []


def test_a_longer_upload_replaces_what_is_kept_only_when_no_other_server_holds_that(
    here: content.ContentStore, there: content.ContentStore, kept: pathlib.Path
) -> None:
    with files_uploads.receive(here) as first:
        first.write(DATA[:10])
        with files_uploads.receive(there) as second:
            second.write(DATA[:20])
            assert kept.read_bytes() == DATA[:10]
            first.__exit__(None, None, None)
            second.write(DATA[20:21])
            assert kept.read_bytes() == DATA[:21]
            files_uploads.cut(here, DATA[:30])
            assert kept.read_bytes() == DATA[:21]
        files_uploads.cut(here, DATA[:30])
    assert kept.read_bytes() == DATA[:30]


def test_an_upload_is_gone_on_with_after_its_server_was_killed(
    here: content.ContentStore, root: pathlib.Path, kept: pathlib.Path
) -> None:
    with another_process(root) as holding:
        assert here.committed_bytes(HASH) == 100
        assert here.expire(FAR_AHEAD) == []
        with files_uploads.receive(here, 100):
            assert len(files_uploads.incoming(root)) == 2
        holding.kill()
        holding.wait(DEADLINE_SECONDS)
        with files_uploads.receive(here, 100) as coming:
            assert files_uploads.incoming(root) == [HASH]
            coming.write(DATA[100:])
            assert kept.read_bytes() == DATA
            assert coming.commit() is False
    assert files_uploads.incoming(root) == []


def test_what_was_stored_by_a_server_that_was_killed_then_is_not_written_to(
    here: content.ContentStore, there: content.ContentStore, kept: pathlib.Path
) -> None:
    files_uploads.cut(here, DATA)
    stored = here._stored.path(HASH)
    stored.parent.mkdir(parents=True)
    hold = partial.Partial.kept

    def stored_before(path: pathlib.Path) -> partial.Partial | None:
        os.link(kept, stored)
        return hold(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partial.Partial, "kept", stored_before)
        with pytest.raises(base_errors.DshpcError):
            files_uploads.receive(there, 10)
    assert there.is_intact(HASH)
    assert not kept.exists()


def test_a_file_that_is_read_only_is_held_too_by_who_may_not_write_to_it(
    here: content.ContentStore, kept: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_uploads.cut(here, DATA)
    kept.chmod(0o444)
    opened = os.open

    def as_anybody(path: pathlib.Path, flags: int, mode: int = 0o777) -> int:
        # Tests may run as root, who may write to everything.
        if flags & os.O_RDWR and path == kept and not kept.stat().st_mode & 0o200:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", as_anybody)
    assert files_uploads.finish(here, len(DATA)) is False
    assert here.is_intact(HASH)


def test_what_another_server_is_publishing_stays_read_only_and_its_own(
    here: content.ContentStore, there: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    tried: list[int] = []

    def meanwhile(descriptor: int) -> None:
        if not tried:
            tried.append(descriptor)
            assert there.remove(HASH) is False
            files_uploads.receive(there, 100).__exit__(None, None, None)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    assert files_uploads.finish(here, 0) is False
    assert tried
    found = there.find(HASH)
    assert found is not None
    assert found.stat().st_mode & 0o777 == partial.MODE
    assert there.is_intact(HASH)


def test_nobody_goes_on_with_what_is_just_getting_its_name(
    here: content.ContentStore, there: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = folders.name

    def meanwhile(path: pathlib.Path, new: pathlib.Path) -> bool:
        monkeypatch.setattr(folders, "name", name)
        files_uploads.cut(there, files_uploads.WRONG[:10], 100)
        return name(path, new)

    monkeypatch.setattr(folders, "name", meanwhile)
    assert files_uploads.finish(here, 0) is False
    assert there.is_intact(HASH)


def test_two_servers_that_store_the_same_at_one_time_both_succeed_and_store_it_once(
    here: content.ContentStore,
    there: content.ContentStore,
    root: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    outputs = [tmp_path / "one", tmp_path / "other"]
    for path in outputs:
        path.write_bytes(DATA)
    acts: list[Callable[[], object]] = [
        lambda: here.put(DATA),
        lambda: there.put(DATA),
        lambda: files_uploads.finish(here, 0),
        lambda: files_uploads.finish(there, 0),
        lambda: here.take(outputs[0]),
        lambda: there.take(outputs[1]),
    ]
    for _ in range(10):
        together = threading.Barrier(len(acts))
        failures: list[BaseException] = []

        def run(act: Callable[[], object]) -> None:
            together.wait(DEADLINE_SECONDS)  # noqa: B023 - joined before the next round
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - looked at below
                failures.append(error)  # noqa: B023 - as above

        threads = [threading.Thread(target=run, args=[act]) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
        assert failures == []
        assert here.is_intact(HASH)
        assert files_uploads.incoming(root) == []
        assert here.remove(HASH)
        for path in outputs:
            path.write_bytes(DATA)


@pytest.mark.parametrize("damage", [b"", DATA[:-1]])
def test_what_one_server_has_stored_is_not_taken_back_by_the_failure_of_another(
    here: content.ContentStore,
    there: content.ContentStore,
    monkeypatch: pytest.MonkeyPatch,
    damage: bytes,
) -> None:
    here.put(b"something else in the same folders")
    final = here._stored.path(HASH)
    if damage:
        final.parent.mkdir(parents=True)
        final.write_bytes(damage)
    name = folders.name

    def too_late(path: pathlib.Path, new: pathlib.Path) -> bool:
        # The other server is as far, and a moment faster.
        monkeypatch.setattr(folders, "name", name)
        there.put(DATA)
        monkeypatch.setattr(disk, "fsync_folder", fail)
        return name(path, new)

    def fail(_: pathlib.Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(folders, "name", too_late)
    with pytest.raises(base_errors.NoRoomError):
        here.put(DATA)
    assert there.is_intact(HASH)
