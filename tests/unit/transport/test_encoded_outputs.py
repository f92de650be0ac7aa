"""An output in its result: the whole of it comes back, or it is told by its hash."""

import hypothesis
from hypothesis import strategies as st

from dshpc.v1 import types_pb2
from dshpc_server.batches import encoding
from dshpc_server.domain.job import JobStatus
from dshpc_server.transport import encoder
from support import batches_values as values

ENCODER = encoder.MultiJobResultEncoder()


@hypothesis.given(st.text(max_size=50))
@hypothesis.settings(max_examples=50)
def test_an_output_comes_back_from_the_result_byte_for_byte(text: str) -> None:
    result = ENCODER.ended(values.ended(output=values.text_output(text)))
    assert ENCODER.output(result) == text.encode()


def test_an_empty_output_is_an_output() -> None:
    result = ENCODER.ended(values.ended(output=values.text_output("")))
    assert types_pb2.MultiJobResult.FromString(result).HasField("output")
    assert ENCODER.output(result) == b""


def test_an_output_that_is_not_in_the_row_is_told_by_hash() -> None:
    long = encoding.Output(output_hash="a" * 64, size_bytes=10**12, text=None)
    result = ENCODER.ended(values.ended(output=long))
    assert ENCODER.output(result) is None
    read_back = types_pb2.MultiJobResult.FromString(result)
    assert read_back.output_truncated
    assert (read_back.output_hash, read_back.output_size_bytes) == ("a" * 64, 10**12)


def test_a_failure_has_no_output_to_give_back() -> None:
    assert (
        ENCODER.output(ENCODER.ended(values.ended(JobStatus.FAILED, exit_code=3, reason="no")))
        is None
    )
