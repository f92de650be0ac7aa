"""The library: a hash that was told is found, on disk or in a result."""

import pytest

from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import records
from support import batches_values as values
from support import store_values
from support.batches_assembly import Assembly, job

TEXT = "a short output\n"


@pytest.fixture
async def output_hash(parts: Assembly) -> str:
    """The hash of an output that stands in its row and nowhere else."""
    (row,) = await parts.accept(job())
    assert row.attempt is not None
    output = values.text_output(TEXT)
    ending = records.Ending(
        result=parts.encoder.ended(values.ended(output=output)),
        exit_code=0,
        signal=None,
        output_hash=output.output_hash,
        output_size_bytes=output.size_bytes,
        output_is_inline=True,
        reason="",
        stderr_tail="",
    )
    report = records.Report(
        key=row.attempt.key, event=Event.SUCCEEDED, at=store_values.NOON, ending=ending
    )
    await parts.committer.write(lambda writer: writer.claim(store_values.take, 1))
    await parts.committer.write(lambda writer: writer.record([report]))
    assert parts.kept.find(output.output_hash) is None
    return output.output_hash


async def test_missing_are_those_that_are_nowhere_in_the_order_asked(
    parts: Assembly, output_hash: str
) -> None:
    stored = parts.kept.put(b"a file")
    absent = [store_values.sha("x"), store_values.sha("a")]
    asked = [absent[0], stored, output_hash, absent[1], absent[0], "no hash"]
    assert await parts.library.missing(asked) == [*absent, "no hash"]
    assert await parts.library.missing([]) == []


async def test_a_short_output_is_opened_from_its_row(parts: Assembly, output_hash: str) -> None:
    opened = await parts.library.open(output_hash)
    assert opened is not None
    with opened:
        assert opened.read() == TEXT.encode()
    assert parts.kept.find(output_hash) is None


async def test_a_short_output_becomes_a_file_when_a_method_is_to_read_it(
    parts: Assembly, output_hash: str
) -> None:
    path = await parts.library.path(output_hash)
    assert path is not None
    assert path.read_bytes() == TEXT.encode()
    assert await parts.library.path(output_hash) == path


async def test_what_is_on_disk_is_opened_there(parts: Assembly) -> None:
    stored = parts.kept.put(b"a file")
    opened = await parts.library.open(stored)
    assert opened is not None
    with opened:
        assert opened.read() == b"a file"


@pytest.mark.parametrize("name", ["0" * 64, "no hash", ""])
async def test_what_is_nowhere_is_none(parts: Assembly, name: str) -> None:
    assert await parts.library.open(name) is None
    assert await parts.library.path(name) is None


async def test_content_whose_record_a_crash_prevented_is_known_all_the_same(
    parts: Assembly,
) -> None:
    stored = parts.kept.put(b"no record")
    record = await parts.library.record(stored)
    assert record is not None
    assert (record.file_hash, record.size_bytes, record.filename) == (stored, 9, "")
    assert await parts.library.record(store_values.sha("absent")) is None
