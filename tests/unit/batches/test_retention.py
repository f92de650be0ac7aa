"""Retention: by age and by size, never what is needed, and what was left half done is ended."""

import asyncio
import datetime
import pathlib
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from dshpc_server import errors
from dshpc_server.batches import attempt_folders, content, retention
from dshpc_server.files import content as files
from dshpc_server.store import committer, records
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder
from support import batches_store, methods_site
from support import store_values as v

HOUR = datetime.timedelta(hours=1)
DEADLINE_SECONDS = 30.0


class Parts:
    """Content with its records, a clock, and a retention over them."""

    def __init__(self, folder: pathlib.Path, store: SqlStore, writing: committer.Committer) -> None:
        self.folder = folder
        self.store = store
        self.committer = writing
        self.kept = files.ContentStore(folder / "files")
        self.library = content.Library(
            content=self.kept, committer=writing, encoder=encoder.MultiJobResultEncoder()
        )
        self.clock = methods_site.HandClock()

    def retention(self, **limits: float) -> retention.Retention:
        return retention.Retention(
            library=self.library,
            content=self.kept,
            committer=self.committer,
            folders=attempt_folders.AttemptFolders(self.folder / "attempts", self.committer),
            limits=retention.Limits(**limits),  # type: ignore[arg-type]  # numbers by name
            clock=self.clock,
        )

    async def stored(self, text: str, *, hours_ago: float) -> str:
        """Some content that was last used so long ago."""
        at = self.clock.now() - hours_ago * HOUR
        record = records.FileRecord(
            file_hash=self.kept.put(text.encode()),
            size_bytes=len(text),
            filename="",
            media_type="",
            created_at=at,
            last_used_at=at,
        )
        await self.committer.write(lambda writer: writer.put_file(record))
        return record.file_hash

    def there(self, *hashes: str) -> list[bool]:
        return [self.kept.find(each) is not None for each in hashes]


@pytest.fixture
async def parts(tmp_path: pathlib.Path) -> AsyncIterator[Parts]:
    store = batches_store.opened(tmp_path / "store.db")
    async with committer.Committer(store, on_changes=lambda _: None) as writing:
        yield Parts(tmp_path, store, writing)
    store.close()


async def test_without_limits_everything_is_kept(parts: Parts) -> None:
    old = await parts.stored("old", hours_ago=100_000)
    await parts.retention().pass_once()
    assert parts.there(old) == [True]


async def test_what_was_not_used_for_so_long_goes(parts: Parts) -> None:
    old, young = (
        await parts.stored("old", hours_ago=2.1),
        await parts.stored("young", hours_ago=1.9),
    )
    keeping = parts.retention(file_retention_seconds=7200.0)
    await keeping.pass_once()
    assert parts.there(old, young) == [False, True]
    assert await parts.library.record(old) is None
    parts.clock.advance(3600)
    await keeping.pass_once()
    assert parts.there(young) == [False]


async def test_of_too_much_the_longest_unused_goes_until_it_is_little_enough(parts: Parts) -> None:
    hashes = [await parts.stored(name * 10, hours_ago=hours) for hours, name in enumerate("abcd")]
    await parts.retention(max_content_bytes=40).pass_once()
    assert parts.there(*hashes) == [True] * 4
    await parts.retention(max_content_bytes=25).pass_once()
    assert parts.there(*hashes) == [True, True, False, False]


async def test_what_is_held_or_needed_stays(parts: Parts) -> None:
    held = await parts.stored("held", hours_ago=100)
    needed = await parts.stored("input of a job", hours_ago=100)
    unused = await parts.stored("unused", hours_ago=100)
    batch = v.batch("b", "a job", at=parts.clock.now(), file_hashes=[needed])
    (row,) = batch.rows
    assert row.candidate is not None
    assert list(row.candidate.spec.inputs.values()) == [needed]
    await parts.committer.write(lambda writer: writer.accept(batch))
    with parts.library.held([held]):
        await parts.retention(file_retention_seconds=1.0, max_content_bytes=1).pass_once()
    # Nothing goes that was used since the job was queued.
    assert parts.there(held, needed, unused) == [True, True, False]


async def test_at_most_so_much_goes_at_one_time(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_FILES", 2)
    hashes = [await parts.stored(name, hours_ago=hours) for hours, name in enumerate("abc", 1)]
    keeping = parts.retention(file_retention_seconds=1.0)
    await keeping.pass_once()
    assert parts.there(*hashes) == [True, False, False]
    await keeping.pass_once()
    assert parts.there(*hashes) == [False] * 3


async def test_a_deletion_that_a_crash_has_left_is_ended(parts: Parts) -> None:
    file_hash = await parts.stored("half deleted", hours_ago=0)
    await begun(parts, file_hash)
    assert parts.there(file_hash) == [True]
    await parts.retention().pass_once()
    assert parts.there(file_hash) == [False]
    assert await parts.committer.read(lambda store: store.find_deleting()) == []
    assert await parts.stored("half deleted", hours_ago=0) == file_hash


async def begun(parts: Parts, file_hash: str) -> None:
    await parts.committer.write(lambda writer: writer.delete_file(file_hash, lambda result: result))


async def test_what_another_has_deleted_and_somebody_stored_anew_is_not_removed(
    parts: Parts,
) -> None:
    file_hash = await parts.stored("again", hours_ago=0)
    deleting = await parts.committer.read(lambda store: store.find_deleting())
    assert deleting == []
    # Two servers have read that it is to be ended; this is the slower one.
    await begun(parts, file_hash)
    await parts.library.finish_deletions()
    await parts.stored("again", hours_ago=0)
    await parts.library._finish(file_hash)
    assert parts.there(file_hash) == [True]


async def test_after_a_start_all_is_done_once_and_then_again_and_again(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.001)
    workspace = await left_workspace(parts)
    first = await parts.stored("first", hours_ago=5)
    task = asyncio.create_task(parts.retention(file_retention_seconds=3600.0).run())
    await until(lambda: not workspace.exists())
    await until(lambda: parts.there(first) == [False])
    second = await parts.stored("second", hours_ago=5)
    await until(lambda: parts.there(second) == [False])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def left_workspace(parts: Parts) -> pathlib.Path:
    """The workspace of an attempt whose end is stored."""
    v.accept(parts.store, v.batch("b", "job"))
    v.end(parts.store, "job")
    job_id = v.sha("job")
    folder = parts.folder / "attempts" / job_id[:2] / job_id / "1"
    (folder / "workspace").mkdir(parents=True)
    return folder / "workspace"


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "error", [errors.UnavailableError("away", retry_after_seconds=1), OSError("no luck")]
)
async def test_what_cannot_be_done_now_is_done_by_a_later_pass(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    file_hash = await parts.stored("old", hours_ago=5)
    keeping = parts.retention(file_retention_seconds=3600.0, attempt_retention_seconds=1.0)
    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as broken:

            def failing(_: str) -> bool:
                raise error

            broken.setattr(parts.kept, "remove", failing)
            await keeping.pass_once()
            await keeping.pass_once()
        assert parts.there(file_hash) == [True]
        assert [(each["event"], each["reason"]) for each in logs] == [
            ("retention.put_off", str(error))
        ]
        await keeping.pass_once()
    assert parts.there(file_hash) == [False]
    assert logs[-1]["event"] == "retention.resumed"


async def test_old_folders_of_attempts_go(parts: Parts) -> None:
    folder = (await left_workspace(parts)).parent
    await parts.retention(attempt_retention_seconds=3600.0).pass_once()
    assert not folder.exists()  # it ended years before the clock's time


async def test_unused_outputs_go_as_by_a_client(parts: Parts) -> None:
    output_hash = parts.kept.put(b"the output")
    assert output_hash == v.sha("the output")
    v.complete(parts.store, "job", output="the output", is_inline=False)
    assert parts.store.find_kept_outputs([v.sha("job")]) == {output_hash}
    await parts.retention(file_retention_seconds=3600.0).pass_once()
    assert parts.there(output_hash) == [False]
    assert parts.store.find_kept_outputs([v.sha("job")]) == set()  # it has no answer any more


async def test_what_is_used_again_before_its_turn_comes_stays(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, unused = [await parts.stored(text, hours_ago=100) for text in ("again", "unused")]
    delete = parts.library.delete

    async def slow(file_hash: str) -> bool:
        if file_hash == first:
            await parts.stored("again", hours_ago=0)
        return await delete(file_hash)

    monkeypatch.setattr(parts.library, "delete", slow)
    monkeypatch.setattr(retention, "FILES_AT_ONE_TIME", 1)
    first = await parts.stored("the first", hours_ago=200)
    await parts.retention(file_retention_seconds=3600.0).pass_once()
    assert parts.there(first, again, unused) == [False, True, False]
