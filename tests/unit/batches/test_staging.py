"""Large batches over a real store: staged, sealed, accepted to the last row whatever happens."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator

import pytest
import sqlalchemy

from dshpc_server import errors
from dshpc_server.batches import request, staging
from dshpc_server.domain.job import Outcome
from dshpc_server.store import port, records
from dshpc_server.store.sql import tables
from support import methods_site
from support.batches_assembly import LARGE_ROWS, PIECE_ROWS, Assembly, job

ROWS = 3 * PIECE_ROWS + 1


@contextlib.asynccontextmanager
async def staging_in(parts: Assembly) -> AsyncIterator[None]:
    """Accept what is sealed, for as long as the context lasts."""
    task = asyncio.create_task(parts.staging.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def asked(*numbers: int) -> request.BatchRequest:
    rows = [job(index, n=number) for index, number in enumerate(numbers)]
    return request.BatchRequest(rows=rows, display_name="large")


async def shown(parts: Assembly, what: request.BatchRequest) -> str:
    """Have a batch accepted and shown; its name."""
    sealed = await parts.staging.accept(what)
    await sealed.until_shown()
    return sealed.batch_id


def rows_of(parts: Assembly, batch_id: str) -> list[records.Row]:
    return list(parts.store.find_rows(batch_id, first_index=0, limit=99))


def staged_pieces(parts: Assembly) -> int:
    statement = sqlalchemy.select(sqlalchemy.func.count()).select_from(tables.staged_pieces)
    with parts.store._engine.connect() as connection:
        count: int = connection.execute(statement).scalar_one()
        return count


class FailingWrites:
    """A committer's `write` that lets so many works through, and then does what it is told."""

    def __init__(self, parts: Assembly, monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
        self._write = parts.committer.write
        self._passes = passes
        self.reached = asyncio.Event()
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        monkeypatch.setattr(parts.committer, "write", self.write)

    async def write(self, work: object, *, alone: bool = False) -> object:
        self._passes -= 1
        if self._passes == -1:
            self.reached.set()
            if self.error is not None:
                raise self.error
            await self.go_on.wait()
        return await self._write(work, alone=alone)  # type: ignore[arg-type]  # whatever it is


def test_what_is_large_has_more_rows_than_one_transaction_takes(parts: Assembly) -> None:
    assert not parts.staging.is_large(asked(*range(LARGE_ROWS)))
    assert parts.staging.is_large(asked(*range(LARGE_ROWS + 1)))
    assert staging.PIECE_ROWS <= staging.LARGE_ROWS <= 1_000


async def test_a_large_batch_is_shown_with_all_its_rows_in_order(parts: Assembly) -> None:
    async with staging_in(parts):
        batch_id = await shown(parts, asked(*range(ROWS)))
        rows = rows_of(parts, batch_id)
    assert [row.index for row in rows] == list(range(ROWS))
    assert {row.outcome for row in rows} == {Outcome.SUBMITTED}
    assert staged_pieces(parts) == 0


async def test_of_equal_rows_the_first_submits_whatever_piece_they_are_in(
    parts: Assembly,
) -> None:
    numbers = [*range(ROWS), *reversed(range(ROWS))]
    async with staging_in(parts):
        rows = rows_of(parts, await shown(parts, asked(*numbers)))
    first, later = rows[:ROWS], rows[ROWS:]
    assert {row.outcome for row in first} == {Outcome.SUBMITTED}
    assert {row.outcome for row in later} == {Outcome.FOUND_IN_PROGRESS}
    assert [row.head for row in later] == [
        parts.encoder.duplicate(number) for number in reversed(range(ROWS))
    ]


async def test_rows_of_a_large_batch_fail_alone(parts: Assembly) -> None:
    kept = parts.kept.put(b"there\n")
    rows = [
        *(job(index, n=index) for index in range(LARGE_ROWS)),
        job(LARGE_ROWS, method="absent"),
        job(LARGE_ROWS + 1, method="count", inputs={"input": kept}),
        job(LARGE_ROWS + 2, method="count", inputs={"input": "a" * 64}),
    ]
    async with staging_in(parts):
        batch_id = await shown(parts, request.BatchRequest(rows=rows, display_name=""))
    assert [row.outcome for row in rows_of(parts, batch_id)][LARGE_ROWS:] == [
        Outcome.REJECTED,
        Outcome.SUBMITTED,
        Outcome.REJECTED,
    ]


async def test_several_large_batches_are_accepted_beside_each_other(parts: Assembly) -> None:
    async with staging_in(parts):
        names = await asyncio.gather(*(shown(parts, asked(*range(n, n + ROWS))) for n in range(3)))
        assert [len(rows_of(parts, name)) for name in names] == [ROWS] * 3


async def test_nothing_is_deleted_that_is_needed_while_a_large_batch_is_accepted(
    parts: Assembly,
) -> None:
    kept = parts.kept.put(b"needed\n")
    rows = [
        job(index, method="count", inputs={"input": kept}, n=index)
        for index in range(LARGE_ROWS + 1)
    ]
    accepting = asyncio.create_task(shown(parts, request.BatchRequest(rows=rows, display_name="")))
    await parts.until(lambda _: staged_pieces(parts) > 0)
    with pytest.raises(errors.InUseError):
        await parts.library.delete(kept)
    async with staging_in(parts):
        await accepting


async def test_a_call_that_is_cancelled_before_the_seal_leaves_nothing(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = FailingWrites(parts, monkeypatch, passes=1)  # the pieces
    accepting = asyncio.create_task(shown(parts, asked(*range(ROWS))))
    await writes.reached.wait()
    assert staged_pieces(parts) > 0
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    async with staging_in(parts):
        await parts.until(lambda _: staged_pieces(parts) == 0)
    assert parts.store.find_batches(after=None, limit=9) == []
    assert parts.store.find_jobs(after=None, limit=9) == []


async def test_a_call_that_is_cancelled_after_the_seal_changes_nothing(parts: Assembly) -> None:
    accepting = asyncio.create_task(shown(parts, asked(*range(ROWS))))

    def is_sealed(_: port.Reader) -> bool:
        with parts.store._engine.connect() as connection:
            return (
                connection.execute(sqlalchemy.select(tables.batches.c.batch_id)).first() is not None
            )

    await parts.until(is_sealed)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    async with staging_in(parts):
        await parts.until(lambda store: bool(store.find_batches(after=None, limit=9)))
    (batch,) = parts.store.find_batches(after=None, limit=9)
    assert len(rows_of(parts, batch.batch_id)) == ROWS


async def test_a_store_that_is_away_is_waited_for(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "RETRY_SECONDS", 0.01)
    writes = FailingWrites(parts, monkeypatch, passes=3)  # the pieces, the seal, one piece
    writes.error = errors.UnavailableError("away", retry_after_seconds=0.0)
    async with staging_in(parts):
        batch_id = await shown(parts, asked(*range(ROWS)))
    assert writes.reached.is_set()
    assert len(rows_of(parts, batch_id)) == ROWS


async def test_content_that_another_server_deletes_is_waited_for(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = FailingWrites(parts, monkeypatch, passes=3)
    writes.error = port.ContentGoingError("a" * 64)
    async with staging_in(parts):
        batch_id = await shown(parts, asked(*range(ROWS)))
    assert writes.reached.is_set()
    assert len(rows_of(parts, batch_id)) == ROWS


async def test_a_piece_that_cannot_be_read_stops_its_own_batch_alone(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = FailingWrites(parts, monkeypatch, passes=3)
    writes.error = LookupError("a bug")
    async with staging_in(parts):
        with pytest.raises(LookupError):
            await shown(parts, asked(*range(ROWS)))
        batch_id = await shown(parts, asked(*range(ROWS)))
    assert len(rows_of(parts, batch_id)) == ROWS


async def test_who_was_taken_for_dead_while_staging_asks_to_try_again(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = FailingWrites(parts, monkeypatch, passes=1)  # the pieces
    writes.error = port.FencedError("this")
    async with staging_in(parts):
        with pytest.raises(errors.UnavailableError, match="taken for dead"):
            await shown(parts, asked(*range(ROWS)))
        await parts.until(lambda _: staged_pieces(parts) == 0)


async def test_what_a_dead_server_left_is_accepted_if_it_was_sealed_and_removed_if_not(
    tmp_path: pathlib.Path, site: methods_site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Assembly(tmp_path, site)
    async with dead.storing():
        sealing = asyncio.create_task(shown(dead, asked(*range(ROWS))))
        await dead.until(lambda _: dead.staging._under_way != {})
        writes = FailingWrites(dead, monkeypatch, passes=1)
        other = asyncio.create_task(shown(dead, asked(*range(ROWS))))
        await writes.reached.wait()
        for task in (sealing, other):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    parts = Assembly(tmp_path, site)
    async with parts.storing(), staging_in(parts):
        await parts.until(lambda _: staged_pieces(parts) == 0)
        (batch,) = parts.store.find_batches(after=None, limit=9)
        assert batch.display_name == "large"
        rows = rows_of(parts, batch.batch_id)
    assert {row.outcome for row in rows} == {Outcome.SUBMITTED}
    assert len(rows) == ROWS
