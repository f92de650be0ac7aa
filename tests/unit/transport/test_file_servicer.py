"""Pages of ListFiles: cut by count and by bytes, and gone on with where they ended."""

import asyncio
import datetime
import errno
import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import pytest

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, errors
from dshpc_server.store import records
from dshpc_server.transport import limits, pages
from dshpc_server.transport.servicers import file
from support import store_values, transport_values

T = TypeVar("T")
NO_CALL = cast("Any", None)


class Files:
    """A store that holds files, and a committer that reads from it."""

    def __init__(self, files: Sequence[records.FileRecord]) -> None:
        self._files = sorted(files, key=self._place, reverse=True)
        self.asked: list[int] = []

    async def read(self, question: Callable[[Any], T]) -> T:
        return question(self)

    def find_files(
        self, *, after: records.ListPosition | None, limit: int
    ) -> Sequence[records.FileRecord]:
        self.asked.append(limit)
        last = None if after is None else (after.at, after.name)
        return [each for each in self._files if last is None or self._place(each) < last][:limit]

    @staticmethod
    def _place(record: records.FileRecord) -> tuple[datetime.datetime, str]:
        return record.created_at, record.file_hash


def servicer(store: Files) -> file.FileServicer:
    return file.FileServicer(
        content=cast("Any", None),
        library=cast("Any", None),
        committer=cast("Any", store),
        limits=transport_values.LIMITS,
        clock=clock.SystemClock(),
    )


def files(count: int, *, filename: str = "a.csv") -> list[records.FileRecord]:
    """Files of which always three are of one moment."""
    return [
        store_values.file_record(str(number), at=store_values.later(number // 3), filename=filename)
        for number in range(count)
    ]


async def all_pages(store: Files, size: int) -> list[list[str]]:
    listed: list[list[str]] = []
    token = ""
    while True:
        asked = file_service_pb2.ListFilesRequest(page_size=size, page_token=token)
        page = await servicer(store).list_files(asked, NO_CALL)
        listed.append([each.file_hash for each in page.files])
        token = page.next_page_token
        if not token:
            return listed


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10, 11])
async def test_pages_of_any_size_tell_every_file_once(size: int) -> None:
    store = Files(files(10))
    listed = await all_pages(store, size)
    newest_first = [each.file_hash for each in store.find_files(after=None, limit=10)]
    assert [each for page in listed for each in page] == newest_first
    assert all(len(page) == size for page in listed[:-1])
    assert 0 < len(listed[-1]) <= size


async def test_no_files_are_one_empty_page() -> None:
    assert await all_pages(Files([]), 5) == [[]]


@pytest.mark.parametrize(
    ("size", "asked"), [(0, limits.DEFAULT_PAGE_SIZE), (1_000_000, limits.MAX_PAGE_SIZE)]
)
async def test_a_page_has_its_default_and_its_limit(size: int, asked: int) -> None:
    store = Files([])
    await all_pages(store, size)
    assert store.asked == [asked + 1]


async def test_a_page_ends_before_it_is_too_large_for_a_message() -> None:
    long = "n" * limits.MAX_LABEL_BYTES
    store = Files(files(4_000, filename=long))
    page = await servicer(store).list_files(
        file_service_pb2.ListFilesRequest(page_size=5_000), NO_CALL
    )
    assert page.ByteSize() <= limits.DEFAULT_RESPONSE_BYTES + 1_000
    listed = await all_pages(store, 5_000)
    assert len(listed) > 1
    assert sum(len(page) for page in listed) == 4_000


async def test_a_token_of_another_listing_is_refused() -> None:
    position = records.ListPosition(at=store_values.NOON, name=store_values.sha("0"))
    for token in (pages.token(position, "jobs"), pages.token(3, "files"), "nonsense"):
        asked = file_service_pb2.ListFilesRequest(page_token=token)
        with pytest.raises(errors.InvalidRequestError, match="page_token"):
            await servicer(Files([])).list_files(asked, NO_CALL)


class SlowFile(io.RawIOBase):
    """A file whose reading takes until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset if whence == 0 else 1 << 20

    def readinto(self, _: object) -> int:
        self.entered.set()
        assert self.let_go.wait(30)
        return 0


async def test_a_download_cancelled_while_the_disk_is_slow_does_not_hold_the_loop() -> None:
    slow = SlowFile()

    class Library:
        async def open(self, _: str) -> io.BufferedReader:
            return io.BufferedReader(slow)

    serving = file.FileServicer(
        content=cast("Any", None),
        library=cast("Any", Library()),
        committer=cast("Any", None),
        limits=transport_values.LIMITS,
        clock=clock.SystemClock(),
    )
    asked = file_service_pb2.DownloadFileRequest(file_hash="a" * 64)
    download = asyncio.ensure_future(serving.download_file(asked, NO_CALL))
    assert await asyncio.to_thread(slow.entered.wait, 30)
    download.cancel()
    await asyncio.sleep(0)  # a close that waits for the read would end the loop's turn here
    assert not slow.closed
    slow.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await download
    assert slow.closed


class SilentFile(SlowFile):
    """A file that the disk does not give back."""

    def readinto(self, _: object) -> int:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "/secret/place")


async def test_a_download_that_the_disk_does_not_give_back_can_be_asked_for_again() -> None:
    class Library:
        async def open(self, _: str) -> io.BufferedReader:
            return io.BufferedReader(SilentFile())

    serving = file.FileServicer(
        content=cast("Any", None),
        library=cast("Any", Library()),
        committer=cast("Any", None),
        limits=transport_values.LIMITS,
        clock=clock.SystemClock(),
    )
    asked = file_service_pb2.DownloadFileRequest(file_hash="a" * 64)
    with pytest.raises(errors.NoAnswerError) as raised:
        await serving.download_file(asked, NO_CALL)
    assert str(raised.value) == f"the disk does not answer: {os.strerror(errno.ESTALE)}"
