"""Counting entries on the wire: too many are found before they are parsed, whatever their form."""

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc.v1 import batch_service_pb2, file_service_pb2, job_service_pb2
from dshpc_server import errors
from dshpc_server.transport import counting, wire

HASHES = file_service_pb2.FindMissingFilesRequest.DESCRIPTOR
JOBS = job_service_pb2.SimulateJobsRequest.DESCRIPTOR
ROWS = batch_service_pb2.ListBatchResultsRequest.DESCRIPTOR


def statuses(count: int) -> bytes:
    return batch_service_pb2.ListBatchResultsRequest(statuses=[1] * count).SerializeToString()  # type: ignore[list-item]  # by number


@pytest.mark.parametrize("count", [0, 1, 9, 10])
def test_as_many_as_allowed_pass(count: int) -> None:
    counting.refuse_too_many(wire.field(1, b"") * count, HASHES, 10)
    counting.refuse_too_many(wire.field(1, b"x" * 300) * count, HASHES, 10)
    counting.refuse_too_many(statuses(count), ROWS, 10)


@pytest.mark.parametrize(
    ("request_bytes", "message", "limit"),
    [
        (b"\x0a\x00" * 11, HASHES, "file_hashes"),
        (b"\x0a\x00" * 11, JOBS, "max_jobs_per_request"),
        (b"\x0b" + b"\x0a\x00" * 11, JOBS, "max_jobs_per_request"),
        (b"\x12\x00" * 11, JOBS, "options"),
        (b"".join(wire.field(number, b"") for number in range(100, 111)), JOBS, "unknown fields"),
        (b"\xf8\x3f\x01" * 11, JOBS, "unknown fields"),
        (
            b"\xf9\x3f" + b"\0" * 8 + b"\xfd\x3f" + b"\0" * 4 + b"\x0a\x00" * 11,
            HASHES,
            "file_hashes",
        ),
        (statuses(11), ROWS, "statuses"),
        (b"\x20\x01" * 11, ROWS, "statuses"),
    ],
)
def test_one_more_is_refused_with_the_limit(
    request_bytes: bytes, message: object, limit: str
) -> None:
    with pytest.raises(errors.LimitExceededError) as refused:
        counting.refuse_too_many(request_bytes, message, 10)  # type: ignore[arg-type]  # a descriptor
    assert refused.value.limit == limit
    assert refused.value.maximum == 10


@hypothesis.given(st.binary(max_size=200))
def test_what_is_no_message_is_left_to_the_parser(noise: bytes) -> None:
    with contextlib.suppress(errors.LimitExceededError):  # the only thing it may raise
        counting.refuse_too_many(noise + b"\xff", JOBS, 10)
    counting.refuse_too_many(noise + b"\xff", JOBS, 1000)


@hypothesis.given(
    st.lists(st.binary(max_size=200), max_size=30), st.lists(st.integers(0, 2**63), max_size=9)
)
def test_every_entry_of_a_true_message_counts_once(
    entries: list[bytes], numbers: list[int]
) -> None:
    others = b"".join(wire.varint(15 << 3) + wire.varint(number) for number in numbers)
    sent = others + b"".join(wire.field(1, entry) for entry in entries)
    most = max(len(entries), len(numbers))
    counting.refuse_too_many(sent, HASHES, most)
    if most and len(sent) >= most:
        with pytest.raises(errors.LimitExceededError):
            counting.refuse_too_many(sent, HASHES, most - 1)
