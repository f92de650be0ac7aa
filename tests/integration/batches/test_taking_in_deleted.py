"""An output that is deleted before its end is recorded: nobody is told of what is not there."""

import asyncio
import pathlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dshpc_server.batches import encoding, intake
from dshpc_server.domain.job import JobStatus
from support.batches_assembly import DEADLINE_SECONDS, INLINE_BYTES, Assembly
from support.batches_ends import launched, left, result
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

Start = Callable[..., Assembly]
LONG = b"x" * (INLINE_BYTES + 1)
SHORT = b"done\n"
NO_TEXT = b"\xff"


def once_taken_in(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[str], Coroutine[Any, Any, object]]
) -> list[str]:
    """Have this done to the first kept output between its storing and the record of its end.

    Returns what grows by every output that is stored.
    """
    loop = asyncio.get_running_loop()
    stored: list[str] = []
    take_in = intake.Intake.output

    def output(taking: intake.Intake, stdout: pathlib.Path) -> encoding.Output:
        taken = take_in(taking, stdout)
        if taken.text is None:
            stored.append(taken.output_hash)
            if len(stored) == 1:
                acting = asyncio.run_coroutine_threadsafe(act(taken.output_hash), loop)
                acting.result(DEADLINE_SECONDS)
        return taken

    monkeypatch.setattr(intake.Intake, "output", output)
    return stored


@pytest.mark.parametrize("stdout", [LONG, NO_TEXT])
async def test_an_output_that_is_deleted_before_its_end_is_recorded_is_taken_in_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, stdout: bytes
) -> None:
    parts = start()
    stored = once_taken_in(monkeypatch, parts.library.delete)
    async with parts.serving():
        key = await launched(parts)
        await parts.engine.exited(key, stdout=stdout)
        await parts.until_status(key, JobStatus.COMPLETED)
        output_hash = result(parts, key).output_hash
        assert parts.kept.is_intact(output_hash)
        assert stored == [output_hash] * 2


@pytest.mark.parametrize("stdout", [LONG, NO_TEXT])
async def test_an_output_whose_deletion_is_under_way_waits_for_its_end_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch, stdout: bytes
) -> None:
    parts = start()
    stored = once_taken_in(monkeypatch, lambda output_hash: mark(parts, output_hash))
    async with parts.serving():
        key, beside = [await launched(parts, n) for n in range(2)]
        await parts.engine.tell([left(parts, key, stdout), left(parts, beside, SHORT)])
        await parts.until_status(beside, JobStatus.COMPLETED)
        await parts.until(lambda _: len(stored) > 2)
        assert JobStatus.COMPLETED not in parts.statuses(key)
        await parts.library.finish_deletions()
        await parts.until_status(key, JobStatus.COMPLETED)
        assert parts.kept.is_intact(result(parts, key).output_hash)


@pytest.mark.parametrize("is_finished", [True, False])
async def test_an_output_that_another_server_deletes_is_taken_in_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, postgres_url: str, *, is_finished: bool
) -> None:
    parts, other = start(url=postgres_url), start(url=postgres_url)

    async def delete(output_hash: str) -> None:
        await mark(other, output_hash)
        if is_finished:
            await other.library.finish_deletions()

    stored = once_taken_in(monkeypatch, delete)
    async with other.storing(), parts.serving():
        key = await launched(parts)
        await parts.engine.exited(key, stdout=LONG)
        await parts.until(lambda _: len(stored) > 1)
        await other.library.finish_deletions()
        await parts.until_status(key, JobStatus.COMPLETED)
        assert parts.kept.is_intact(result(parts, key).output_hash)
        assert result(parts, key).output_hash in parts.store.find_kept_outputs([key.job_id])


async def mark(parts: Assembly, file_hash: str) -> None:
    """Begin to delete, as one that a crash then keeps from going on."""
    await parts.committer.write(
        lambda writer: writer.delete_file(file_hash, parts.encoder.without_output)
    )
