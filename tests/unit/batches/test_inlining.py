"""Rows with their outputs in or out, as the caller asked."""

from typing import Any, cast

import pytest

from dshpc.v1 import types_pb2
from dshpc_server.batches import encoding, inlining
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store import records
from dshpc_server.transport import encoder
from support import batches_values as values

ENCODER = encoder.MultiJobResultEncoder()
INLINE_BYTES = 16


class Texts:
    """The content store's texts; remembers what was read."""

    def __init__(self, **texts: str) -> None:
        self._texts = {values.text_output(text).output_hash: text for text in texts.values()}
        self.reads: list[str] = []

    def text(self, file_hash: str, max_bytes: int) -> str | None:
        self.reads.append(file_hash)
        found = self._texts.get(file_hash)
        return found if found is not None and len(found.encode()) <= max_bytes else None


def inliner(texts: Texts | None = None) -> inlining.Inlining:
    return inlining.Inlining(
        encoder=ENCODER,
        library=cast("Any", texts or Texts()),  # nothing else of it is used
        inline_output_bytes=INLINE_BYTES,
    )


def completed(text: str, *, is_text: bool = True) -> records.Row:
    """A row whose output lies where the server puts one of its length, and one that is no text."""
    output = values.text_output(text)
    if output.size_bytes > INLINE_BYTES or not is_text:
        output = encoding.Output(
            output_hash=output.output_hash, size_bytes=output.size_bytes, text=None
        )
    result = ENCODER.ended(values.ended(output=output))
    attempt = values.attempt(status=JobStatus.COMPLETED, result=result)
    return values.row(Outcome.FOUND_COMPLETED, attempt)


def told(encoded: bytes) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult.FromString(encoded)


@pytest.mark.parametrize("limit", [None, INLINE_BYTES])
def test_the_servers_own_limit_changes_nothing(limit: int | None) -> None:
    for row in (completed("short"), completed("x" * 40)):
        assert inliner().encoder(limit)(row) == encoding.encoded_row(row, ENCODER)


def test_a_shorter_limit_takes_outputs_out_and_reads_nothing() -> None:
    texts = Texts(five="fives")
    encode = inliner(texts).encoder(4)
    assert told(encode(completed("four"))).output == "four"
    for row in (completed("fives"), completed("raw", is_text=False)):
        cut = told(encode(row))
        assert (cut.HasField("output"), cut.output_truncated) == (False, True)
    assert not inliner(texts).reads_files(4)
    assert texts.reads == []


def test_a_longer_limit_puts_outputs_in_and_reads_only_those() -> None:
    texts = Texts(fits="y" * 40, longer="z" * 41)
    encode = inliner(texts).encoder(40)
    assert inliner().reads_files(40)
    assert told(encode(completed("y" * 40))).output == "y" * 40
    assert told(encode(completed("z" * 41))).output_truncated
    assert told(encode(completed("short"))).output == "short"
    assert texts.reads == [values.text_output("y" * 40).output_hash]


def test_what_has_not_completed_is_left_alone() -> None:
    failed = values.row(Outcome.SUBMITTED, values.attempt(status=JobStatus.FAILED, result=b""))
    pending = values.row(Outcome.SUBMITTED, values.attempt())
    refused = values.row(Outcome.REJECTED, rejection=b"")
    for row in (failed, pending, refused):
        assert inliner().encoder(0)(row) == encoding.encoded_row(row, ENCODER)


def test_a_validated_row_says_that_nothing_happened() -> None:
    encode = inliner().encoder(None, validates=True)
    row = told(encode(values.row(Outcome.SUBMITTED, values.attempt())))
    assert row.message == "New job would be submitted"
    assert row.outcome == types_pb2.OUTCOME_SUBMITTED
    assert row.job_id
    refused = values.row(
        Outcome.REJECTED, rejection=types_pb2.MultiJobResult(message="why").SerializeToString()
    )
    assert told(encode(refused)).message == "why"
