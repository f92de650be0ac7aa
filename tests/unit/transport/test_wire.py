"""The wire format by hand is protobuf's own, so that joined answers are messages."""

import hypothesis
from google.protobuf import wrappers_pb2
from hypothesis import strategies as st

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server.transport import wire


@hypothesis.given(st.integers(0, 2**64 - 1))
def test_a_varint_is_what_protobuf_writes(number: int) -> None:
    encoded = wrappers_pb2.UInt64Value(value=number).SerializeToString()
    assert encoded == (b"" if number == 0 else b"\x08" + wire.varint(number))


def test_the_edges_of_a_varints_length_are_exact() -> None:
    for exponent in (7, 14, 21, 28, 35, 63):
        assert len(wire.varint(2**exponent - 1)) + 1 == len(wire.varint(2**exponent))
    assert wire.varint(0) == b"\0"


@hypothesis.given(st.binary(max_size=300))
def test_a_field_is_what_protobuf_writes(payload: bytes) -> None:
    joined = wire.field(wrappers_pb2.BytesValue.VALUE_FIELD_NUMBER, payload)
    assert wrappers_pb2.BytesValue.FromString(joined).value == payload
    if payload:
        assert joined == wrappers_pb2.BytesValue(value=payload).SerializeToString()


def test_a_field_number_beyond_one_byte_is_written_right() -> None:
    number = types_pb2.MultiJobResult.DUPLICATE_OF_INDEX_FIELD_NUMBER
    assert number > 15
    timestamp = wire.field(types_pb2.MultiJobResult.END_TIME_FIELD_NUMBER, b"\x08\x05")
    assert types_pb2.MultiJobResult.FromString(timestamp).end_time.seconds == 5


@hypothesis.given(st.lists(st.text(max_size=200), max_size=5))
def test_joined_fields_are_a_repeated_field(names: list[str]) -> None:
    rows = [types_pb2.MultiJobResult(config_id=name) for name in names]
    number = job_service_pb2.MultiJobResults.RESULTS_FIELD_NUMBER
    joined = b"".join(wire.field(number, row.SerializeToString()) for row in rows)
    assert joined == job_service_pb2.MultiJobResults(results=rows).SerializeToString()


def test_of_two_values_for_one_field_the_last_one_counts() -> None:
    first = types_pb2.MultiJobResult(message="first", config_id="kept").SerializeToString()
    last = types_pb2.MultiJobResult(message="last").SerializeToString()
    assert types_pb2.MultiJobResult.FromString(first + last) == types_pb2.MultiJobResult(
        message="last", config_id="kept"
    )
