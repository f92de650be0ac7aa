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


def long_result(size_bytes: int) -> bytes:
    long = encoding.Output(output_hash="a" * 64, size_bytes=size_bytes, text=None)
    return ENCODER.ended(values.ended(output=long))


def nothing(_: str) -> str | None:
    raise AssertionError("nothing was to be read")


def test_an_output_within_the_limit_stays_and_one_over_it_is_taken_out() -> None:
    result = ENCODER.ended(values.ended(output=values.text_output("twelve bytes")))
    assert ENCODER.with_output(result, 12, nothing) == result
    cut = types_pb2.MultiJobResult.FromString(ENCODER.with_output(result, 11, nothing))
    assert (cut.HasField("output"), cut.output_truncated) == (False, True)
    whole = types_pb2.MultiJobResult.FromString(result)
    assert (cut.output_hash, cut.output_size_bytes) == (whole.output_hash, 12)


def test_a_longer_output_is_fetched_when_the_limit_allows_it() -> None:
    texts = {"a" * 64: "x" * 100}
    told = ENCODER.with_output(long_result(100), 100, texts.get)
    read_back = types_pb2.MultiJobResult.FromString(told)
    assert (read_back.output, read_back.output_truncated) == ("x" * 100, False)
    assert ENCODER.with_output(long_result(101), 100, nothing) == long_result(101)


def test_an_output_that_is_gone_or_no_text_stays_told_by_hash() -> None:
    assert ENCODER.with_output(long_result(100), 100, lambda _: None) == long_result(100)


def test_an_empty_output_fits_into_no_room_at_all() -> None:
    result = ENCODER.ended(values.ended(output=values.text_output("")))
    assert ENCODER.with_output(result, 0, nothing) == result


def test_a_result_without_its_output_tells_the_rest() -> None:
    result = ENCODER.ended(values.ended(output=values.text_output("secret")))
    told = ENCODER.without_output(result)
    assert b"secret" not in told
    assert ENCODER.output(told) is None
    expected = types_pb2.MultiJobResult.FromString(result)
    expected.ClearField("output")
    expected.output_truncated = True
    assert types_pb2.MultiJobResult.FromString(told) == expected
