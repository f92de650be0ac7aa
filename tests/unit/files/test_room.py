"""Room on disk: asked before something is begun, and told in the same words everywhere."""

import asyncio
import contextlib
import errno
import os
import pathlib
import threading
import types
from collections.abc import AsyncIterator, Callable

import pytest

from dshpc_server import errors
from dshpc_server.files import content, room
from support import files_uploads, methods_site
from support.files_uploads import DATA, HASH

MIN_FREE_BYTES = 1_000
DEADLINE_SECONDS = 30.0


class Disk:
    """A file system with so many bytes free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 0
        self.fails = False
        self.answers = threading.Event()
        """While it is not set, the disk hangs."""
        self.answers.set()
        self.is_asked = threading.Event()
        """Set by who is held up."""
        self.asked_by: list[int] = []
        monkeypatch.setattr(os, "statvfs", self._statvfs)

    def _statvfs(self, _: object) -> types.SimpleNamespace:
        self.asked_by.append(threading.get_ident())
        if not self.answers.is_set():
            self.is_asked.set()
            assert self.answers.wait(DEADLINE_SECONDS)
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        # As root sees it: some more is free, for root alone.
        return types.SimpleNamespace(f_frsize=1, f_bavail=self.free_bytes, f_bfree=10**9)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def left(disk: Disk, tmp_path: pathlib.Path) -> room.Room:
    assert disk.free_bytes == 0
    return room.Room(tmp_path, MIN_FREE_BYTES)


@pytest.fixture
def store(tmp_path: pathlib.Path, left: room.Room) -> content.ContentStore:
    return content.ContentStore(tmp_path / "content", room=left)


@pytest.mark.parametrize(("free_bytes", "needed_bytes"), [(1_000, 0), (1_500, 500)])
def test_there_is_room_while_enough_is_left(
    disk: Disk, left: room.Room, free_bytes: int, needed_bytes: int
) -> None:
    disk.free_bytes = free_bytes
    left.check(needed_bytes)
    assert left.has_room()


@pytest.mark.parametrize(("free_bytes", "needed_bytes"), [(999, 0), (1_500, 501), (0, 0)])
def test_there_is_none_when_too_little_would_be_left(
    disk: Disk, left: room.Room, free_bytes: int, needed_bytes: int
) -> None:
    disk.free_bytes = free_bytes
    with pytest.raises(errors.NoRoomError, match="there is no room on disk") as raised:
        left.check(needed_bytes)
    assert raised.value.retry_after_seconds > 0
    assert left.has_room() == (free_bytes >= MIN_FREE_BYTES)


def test_a_disk_that_does_not_answer_has_no_room(disk: Disk, left: room.Room) -> None:
    disk.free_bytes = 10**9
    left.check()
    assert left.has_room()
    disk.fails = True
    with pytest.raises(errors.NoRoomError):
        left.check()
    assert not left.has_room()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not fact():  # noqa: ASYNC110 - what a thread does tells nobody
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def looking(left: room.Room) -> AsyncIterator[None]:
    task = asyncio.create_task(left.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_event_loop_goes_by_the_last_look_and_asks_no_disk(
    disk: Disk, left: room.Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.001)
    async with looking(left):
        for free_bytes in (MIN_FREE_BYTES, MIN_FREE_BYTES - 1, MIN_FREE_BYTES):
            disk.free_bytes = free_bytes
            await until(lambda: left.has_room() == (disk.free_bytes >= MIN_FREE_BYTES))
    asked = disk.asked_by.copy()
    assert left.has_room()
    assert disk.asked_by == asked
    assert threading.get_ident() not in asked[1:], "the first look is that of the start"


async def test_a_disk_that_hangs_has_no_room_and_holds_up_nobody(
    disk: Disk, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.001)
    disk.free_bytes = 10**9
    clock = methods_site.HandClock()
    left = room.Room(tmp_path, MIN_FREE_BYTES, clock)
    try:
        async with looking(left):
            disk.answers.clear()
            await until(disk.is_asked.is_set)
            assert left.has_room(), "it may answer yet"
            clock.advance(room.SILENT_SECONDS)
            assert not left.has_room()
            disk.answers.set()
            await until(left.has_room)
    finally:
        disk.answers.set()


def test_a_real_disk_is_asked(tmp_path: pathlib.Path) -> None:
    free = os.statvfs(tmp_path)
    assert room.Room(tmp_path, 0).has_room()
    assert not room.Room(tmp_path, 2 * free.f_frsize * free.f_blocks).has_room()
    assert not room.Room(tmp_path / "absent", 0).has_room()


def test_an_upload_that_would_leave_too_little_is_refused_before_it_begins(
    disk: Disk, store: content.ContentStore, tmp_path: pathlib.Path
) -> None:
    disk.free_bytes = MIN_FREE_BYTES + len(DATA) - 1
    with pytest.raises(errors.NoRoomError):
        files_uploads.receive(store)
    assert files_uploads.incoming(tmp_path / "content") == []
    disk.free_bytes += 1
    assert files_uploads.finish(store, 0) is False


def test_of_an_upload_that_goes_on_only_what_is_still_to_come_counts(
    disk: Disk, store: content.ContentStore
) -> None:
    disk.free_bytes = MIN_FREE_BYTES + len(DATA)
    files_uploads.cut(store, DATA[:200])
    disk.free_bytes = MIN_FREE_BYTES + len(DATA) - 200
    with pytest.raises(errors.NoRoomError):
        files_uploads.receive(store)
    assert files_uploads.finish(store, 200) is False


def test_when_others_use_up_the_room_meanwhile_what_came_is_kept(
    disk: Disk, store: content.ContentStore
) -> None:
    disk.free_bytes = MIN_FREE_BYTES + len(DATA)
    with files_uploads.receive(store) as coming:
        coming.write(DATA[:100])
        disk.free_bytes = MIN_FREE_BYTES
        with pytest.raises(errors.NoRoomError):
            coming.write(DATA[100:])
    assert store.committed_bytes(HASH) == 100
    disk.free_bytes = 2 * MIN_FREE_BYTES
    assert files_uploads.finish(store, 100) is False


def test_what_is_stored_needs_no_room(disk: Disk, store: content.ContentStore) -> None:
    store.put(DATA)
    disk.free_bytes = 0
    with files_uploads.receive(store) as coming:
        assert coming.received_bytes == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such(number: int) -> None:
    with pytest.raises(errors.NoRoomError) as raised, room.needed():
        raise OSError(number, os.strerror(number), "/secret/place")
    assert str(raised.value) == "there is no room on disk"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENODEV, errno.ESTALE])
def test_a_failing_disk_is_told_as_such_and_without_a_path(number: int) -> None:
    with pytest.raises(errors.NoRoomError) as raised, room.needed():
        raise OSError(number, os.strerror(number), "/secret/place")
    assert str(raised.value) == f"the disk does not take it: {os.strerror(number)}"


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), OSError("no number")])
def test_what_is_not_the_disks_passes(error: OSError) -> None:
    with pytest.raises(OSError, match=r"denied|no number") as raised, room.needed():
        raise error
    assert raised.value is error
