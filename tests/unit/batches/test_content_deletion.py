"""Deleting content: it is gone everywhere, and nobody who needs it loses it."""

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator

import pytest

from dshpc_server import errors
from dshpc_server.batches import content
from dshpc_server.domain.lifecycle import Event
from dshpc_server.files import content as files
from dshpc_server.store import committer, records
from dshpc_server.transport import encoder
from support import batches_store, store_values
from support import batches_values as values

DATA = b"a file\n"
TEXT = "a short output\n"
DEADLINE_SECONDS = 30.0
ENCODER = encoder.MultiJobResultEncoder()


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> files.ContentStore:
    return files.ContentStore(tmp_path / "files")


@pytest.fixture
async def writing(tmp_path: pathlib.Path) -> AsyncIterator[committer.Committer]:
    store = batches_store.opened(tmp_path / "store.db")
    async with committer.Committer(store, on_changes=lambda _: None) as made:
        yield made
    store.close()


@pytest.fixture
def library(kept: files.ContentStore, writing: committer.Committer) -> content.Library:
    return content.Library(content=kept, committer=writing, encoder=ENCODER)


class SlowRemoval:
    """Removals that wait in their thread until they are let go."""

    def __init__(self, kept: files.ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self._remove = kept.remove
        monkeypatch.setattr(kept, "remove", self._held)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, DEADLINE_SECONDS)

    def _held(self, file_hash: str) -> bool:
        self.entered.set()
        assert self.let_go.wait(DEADLINE_SECONDS)
        return self._remove(file_hash)


async def stored(kept: files.ContentStore, writing: committer.Committer) -> str:
    """A file with its labels."""
    file_hash = kept.put(DATA)
    record = records.FileRecord(
        file_hash=file_hash,
        size_bytes=len(DATA),
        filename="a.csv",
        media_type="text/csv",
        created_at=store_values.NOON,
        last_used_at=store_values.NOON,
    )
    await writing.write(lambda writer: writer.put_file(record))
    return file_hash


async def short_output(writing: committer.Committer) -> str:
    """The output of a completed job that lies in its result alone."""
    await writing.write(lambda writer: writer.accept(store_values.batch("b", "job")))
    claims = await writing.write(lambda writer: writer.claim(store_values.take, 1))
    (claim,) = claims.taken
    output = values.text_output(TEXT)
    ending = records.Ending(
        result=ENCODER.ended(values.ended(output=output)),
        exit_code=0,
        signal=None,
        output_hash=output.output_hash,
        output_size_bytes=output.size_bytes,
        output_is_inline=True,
        reason="",
        stderr_tail="",
    )
    report = records.Report(
        key=claim.key, event=Event.SUCCEEDED, at=store_values.later(8), ending=ending
    )
    await writing.write(lambda writer: writer.record([report]))
    return output.output_hash


async def test_what_is_deleted_is_gone_and_deleting_again_finds_nothing(
    library: content.Library, kept: files.ContentStore, writing: committer.Committer
) -> None:
    file_hash = await stored(kept, writing)
    record = await library.record(file_hash)
    assert record is not None
    assert record.filename == "a.csv"
    assert await library.delete(file_hash)
    assert await library.missing([file_hash]) == [file_hash]
    assert await library.record(file_hash) is None
    assert await library.open(file_hash) is None
    assert not await library.delete(file_hash)


async def test_a_short_output_is_deleted_out_of_its_result(
    library: content.Library, writing: committer.Committer
) -> None:
    output_hash = await short_output(writing)
    record = await library.record(output_hash)
    assert record is not None
    assert (record.size_bytes, record.filename) == (len(TEXT), "")
    assert record.created_at == record.last_used_at == store_values.later(8)
    assert await library.delete(output_hash)
    assert await library.missing([output_hash]) == [output_hash]
    assert await library.record(output_hash) is None
    job = await writing.read(lambda store: store.find_job(store_values.sha("job")))
    assert job is not None
    assert TEXT.encode() not in (job.newest.attempt.result or b"")


async def test_a_short_output_that_was_read_by_a_method_is_deleted_from_disk_too(
    library: content.Library, writing: committer.Committer, kept: files.ContentStore
) -> None:
    output_hash = await short_output(writing)
    assert await library.path(output_hash) is not None
    assert await library.delete(output_hash)
    assert kept.find(output_hash) is None


async def test_content_without_a_record_is_deleted_too(
    library: content.Library, kept: files.ContentStore
) -> None:
    file_hash = kept.put(DATA)
    assert await library.delete(file_hash)
    assert kept.find(file_hash) is None


async def test_what_is_held_is_not_deleted_until_the_last_one_lets_go(
    library: content.Library, kept: files.ContentStore, writing: committer.Committer
) -> None:
    file_hash = await stored(kept, writing)
    with library.held([file_hash, file_hash]):
        with library.held([file_hash, store_values.sha("another")]):
            pass
        with pytest.raises(errors.InUseError, match="is being answered"):
            await library.delete(file_hash)
        assert await library.missing([file_hash]) == []
    assert await library.delete(file_hash)


async def test_what_an_unfinished_job_needs_is_refused_and_stays(
    library: content.Library, kept: files.ContentStore, writing: committer.Committer
) -> None:
    file_hash = kept.put(b"input of a job")
    batch = store_values.batch("b", "a job")
    (row,) = batch.rows
    assert row.candidate is not None
    wanted = row.candidate.spec.inputs["input"]
    assert wanted == store_values.sha("input of a job") == file_hash
    await writing.write(lambda writer: writer.accept(batch))
    with pytest.raises(errors.InUseError, match="is needed by job"):
        await library.delete(file_hash)
    assert await library.missing([file_hash]) == []
    assert kept.is_intact(file_hash)


async def test_whoever_asks_during_a_deletion_is_told_how_it_ended(
    library: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_hash = await stored(kept, writing)
    slow = SlowRemoval(kept, monkeypatch)
    deleting = asyncio.ensure_future(library.delete(file_hash))
    await slow.until_entered()
    with library.held([file_hash]):
        asking = [
            asyncio.ensure_future(library.missing([file_hash])),
            asyncio.ensure_future(library.lost([file_hash])),
        ]
        again = asyncio.ensure_future(library.delete(file_hash))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(task.done() for task in (*asking, again))
        slow.let_go.set()
        assert await deleting
        assert [list(await task) for task in asking] == [[file_hash], [file_hash]]
        with pytest.raises(errors.InUseError):
            await again
    assert await library.missing([]) == []


async def test_a_deletion_whose_caller_goes_away_is_done_all_the_same(
    library: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_hash = await stored(kept, writing)
    slow = SlowRemoval(kept, monkeypatch)
    deleting = asyncio.ensure_future(library.delete(file_hash))
    await slow.until_entered()
    deleting.cancel()
    await asyncio.sleep(0)
    assert not deleting.done()
    slow.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await deleting
    assert kept.find(file_hash) is None
    assert await library.record(file_hash) is None


async def test_a_deletion_that_fails_leaves_the_content_and_can_be_asked_for_again(
    library: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_hash = await stored(kept, writing)
    with monkeypatch.context() as patched:
        patched.setattr(kept, "remove", _failing)
        with pytest.raises(OSError, match="no luck"):
            await library.delete(file_hash)
    assert await library.missing([file_hash]) == []
    assert await library.delete(file_hash)
    assert await library.missing([file_hash]) == [file_hash]


def _failing(_file_hash: str) -> bool:
    raise OSError("no luck")


async def test_lost_are_the_outputs_that_are_not_on_disk(
    library: content.Library, kept: files.ContentStore
) -> None:
    there, gone = kept.put(DATA), store_values.sha("gone")
    assert await library.lost([there, gone]) == {gone}
    assert await library.lost([]) == set()


@pytest.mark.parametrize(
    ("data", "max_bytes", "text"),
    [
        (b"text \xe2\x82\xac", 8, "text €"),
        (b"text \xe2\x82\xac", 7, None),
        (b"", 0, ""),
        (b"no text \xff", 100, None),
    ],
)
async def test_content_is_read_as_text_when_it_is_short_and_is_text(
    library: content.Library,
    kept: files.ContentStore,
    data: bytes,
    max_bytes: int,
    text: str | None,
) -> None:
    assert library.text(kept.put(data), max_bytes) == text


@pytest.mark.parametrize("name", ["0" * 64, "no hash", ""])
async def test_the_text_of_what_is_nowhere_is_none(library: content.Library, name: str) -> None:
    assert library.text(name, 100) is None


class Others:
    """What another server does to the content, which only the store and the disk know of."""

    def __init__(self, kept: files.ContentStore, writing: committer.Committer) -> None:
        self._kept = kept
        self._committer = writing

    async def begin(self, file_hash: str) -> None:
        await self._committer.write(
            lambda writer: writer.delete_file(file_hash, ENCODER.without_output)
        )

    async def end(self, file_hash: str) -> None:
        self._kept.remove(file_hash)
        await self._committer.write(lambda writer: writer.forget_file(file_hash))


@pytest.fixture
def others(kept: files.ContentStore, writing: committer.Committer) -> Others:
    return Others(kept, writing)


@pytest.fixture
def shared(
    kept: files.ContentStore, writing: committer.Committer, monkeypatch: pytest.MonkeyPatch
) -> content.Library:
    """A library of one of several servers."""
    monkeypatch.setattr(content, "GOING_PAUSES_SECONDS", (0.0, 0.001, 0.001))
    return content.Library(content=kept, committer=writing, encoder=ENCODER, is_shared=True)


def labels(file_hash: str) -> records.FileRecord:
    return records.FileRecord(
        file_hash=file_hash,
        size_bytes=len(DATA),
        filename="b.csv",
        media_type="",
        created_at=store_values.NOON,
        last_used_at=store_values.NOON,
    )


async def test_what_a_crash_left_marked_is_ended_and_can_be_stored_again(
    library: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    others: Others,
) -> None:
    file_hash = await stored(kept, writing)
    await others.begin(file_hash)
    await library.finish_deletions()
    await library.finish_deletions()
    assert kept.find(file_hash) is None
    assert await stored(kept, writing) == file_hash
    assert await library.missing([file_hash]) == []


async def test_of_two_who_delete_only_one_removes(
    library: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    others: Others,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_hash = await stored(kept, writing)
    slow = SlowRemoval(kept, monkeypatch)
    slow.let_go.set()
    await others.begin(file_hash)
    deleting = [asyncio.ensure_future(library.finish_deletions()) for _ in range(3)]
    await asyncio.gather(*deleting)
    kept.put(DATA)
    await library.finish_deletions()
    assert kept.is_intact(file_hash)


async def test_labels_of_what_another_server_deletes_are_stored_after_that_if_at_all(
    shared: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    others: Others,
) -> None:
    file_hash = await stored(kept, writing)
    await others.begin(file_hash)
    with pytest.raises(errors.BeingRemovedError, match="is being removed"):
        await shared.remember(labels(file_hash))
    await others.end(file_hash)
    kept.put(DATA)  # the upload that was going on
    assert (await shared.remember(labels(file_hash))).filename == "b.csv"
    assert await shared.missing([file_hash]) == []


async def test_labels_of_what_has_just_been_deleted_are_not_stored(
    shared: content.Library,
    kept: files.ContentStore,
    writing: committer.Committer,
    others: Others,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file_hash = await stored(kept, writing)
    on_disk = shared.on_disk

    async def deleted_after(hashes: object) -> object:
        found = await on_disk([file_hash])
        await others.begin(file_hash)
        await others.end(file_hash)
        assert hashes == found == [file_hash]
        return found

    monkeypatch.setattr(shared, "on_disk", deleted_after)
    with pytest.raises(errors.BeingRemovedError):
        await shared.remember(labels(file_hash))
    assert await writing.read(lambda store: store.find_file(file_hash)) is None


async def test_alone_nobody_looks_at_the_disk_for_what_others_did(
    library: content.Library, kept: files.ContentStore
) -> None:
    assert await library.on_disk([kept.put(DATA)]) == []
