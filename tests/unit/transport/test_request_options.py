"""Waits, reporting, sizes and limits of a request: their defaults, and where they end."""

import pytest
from google.protobuf import duration_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import simulation, streaming
from dshpc_server.domain import lookup
from dshpc_server.transport import limits, options, requests
from support import transport_values as values

READER = requests.RequestReader(values.LIMITS)


def duration(seconds: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


def policy(until: int = 0, timeout: float | None = None) -> types_pb2.WaitPolicy:
    made = types_pb2.WaitPolicy(until=until)  # type: ignore[arg-type]  # any number is possible
    if timeout is not None:
        made.timeout.CopyFrom(duration(timeout))
    return made


def unary(wait: types_pb2.WaitPolicy | None, left: float | None = None) -> simulation.Wait:
    return READER.unary_wait(job_service_pb2.SimulateJobsRequest(wait=wait), left)


def stream(wait: types_pb2.WaitPolicy | None) -> simulation.Wait:
    return READER.stream_wait(job_service_pb2.StreamSimulateJobsRequest(wait=wait))


def test_a_unary_call_is_answered_when_all_is_resolved_a_stream_when_all_has_finished() -> None:
    assert not unary(None).until_finished
    assert stream(None).until_finished
    assert unary(policy(types_pb2.UNTIL_FINISHED)).until_finished
    assert not stream(policy(types_pb2.UNTIL_RESOLVED)).until_finished


@pytest.mark.parametrize(
    ("timeout", "left", "expected"),
    [
        (None, None, 100.0),
        (7.5, None, 7.5),
        (1e9, None, 100.0),
        (None, 20.0, 19.5),
        (7.5, 20.0, 7.5),
        (30.0, 20.0, 19.5),
        (None, 0.5, 0.0),
        (None, 0.1, 0.0),
        (None, -3.0, 0.0),
        (0.0, None, 0.0),
    ],
)
def test_a_unary_wait_ends_at_the_first_of_timeout_limit_and_deadline(
    timeout: float | None, left: float | None, expected: float
) -> None:
    assert unary(policy(timeout=timeout), left).timeout_seconds == pytest.approx(expected)


def test_a_stream_waits_as_long_as_it_takes_unless_told() -> None:
    assert stream(None).timeout_seconds is None
    assert stream(policy(timeout=2.5)).timeout_seconds == pytest.approx(2.5)
    assert stream(policy(timeout=0)).timeout_seconds == pytest.approx(0.0)


def test_a_wait_that_makes_no_sense_is_refused() -> None:
    for read in (unary, stream):
        with pytest.raises(errors.InvalidRequestError, match=r"wait\.until"):
            read(policy(until=7))
        with pytest.raises(errors.InvalidRequestError, match=r"wait\.timeout"):
            read(policy(timeout=-1))


def test_reporting_has_its_defaults() -> None:
    assert options.reporting(types_pb2.StreamOptions()) == streaming.Reporting(
        transitions=False, heartbeat_seconds=15.0, statistics_seconds=None
    )


def test_reporting_is_read() -> None:
    asked = types_pb2.StreamOptions(
        include_transitions=True,
        heartbeat_interval=duration(1),
        statistics_interval=duration(0.1),
    )
    assert options.reporting(asked) == streaming.Reporting(
        transitions=True, heartbeat_seconds=1.0, statistics_seconds=0.1
    )


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("heartbeat_interval", 0.999),
        ("heartbeat_interval", 0),
        ("heartbeat_interval", -1),
        ("statistics_interval", 0.099),
        ("statistics_interval", 0),
        ("statistics_interval", -5),
    ],
)
def test_an_interval_has_a_lower_bound(name: str, seconds: float) -> None:
    asked = types_pb2.StreamOptions()
    getattr(asked, name).CopyFrom(duration(seconds))
    with pytest.raises(errors.InvalidRequestError, match=rf"stream\.{name}"):
        options.reporting(asked)


def test_reporting_with_a_field_of_a_newer_contract_is_refused() -> None:
    asked = types_pb2.StreamOptions.FromString(b"\xfa\x07\x02hi")
    with pytest.raises(errors.InvalidRequestError, match="has no field 127"):
        options.reporting(asked)


@pytest.mark.parametrize(("asked", "read"), [(0, 1), (1, 1), (2, 2), (1000, 1000)])
def test_results_are_grouped_as_asked(asked: int, read: int) -> None:
    stream = types_pb2.StreamOptions(max_results_per_message=asked)
    assert options.results_per_message(stream) == read


@pytest.mark.parametrize("asked", [-1, 1001, 2**31 - 1])
def test_a_group_has_a_largest_size(asked: int) -> None:
    stream = types_pb2.StreamOptions(max_results_per_message=asked)
    with pytest.raises(errors.InvalidRequestError, match="max_results_per_message"):
        options.results_per_message(stream)


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        (0, limits.DEFAULT_RESPONSE_BYTES),
        (1, 1),
        (limits.MAX_RESPONSE_BYTES, limits.MAX_RESPONSE_BYTES),
    ],
)
def test_a_response_is_as_large_as_asked(asked: int, read: int) -> None:
    assert options.max_response_bytes(types_pb2.BatchOptions(max_response_bytes=asked)) == read


@pytest.mark.parametrize("asked", [-1, limits.MAX_RESPONSE_BYTES + 1])
def test_a_response_has_a_largest_size(asked: int) -> None:
    with pytest.raises(errors.InvalidRequestError, match="max_response_bytes"):
        options.max_response_bytes(types_pb2.BatchOptions(max_response_bytes=asked))


@pytest.mark.parametrize(("asked", "read"), [(0, 1000), (1, 1), (5000, 5000), (2**31 - 1, 5000)])
def test_a_page_size_beyond_the_largest_means_the_largest(asked: int, read: int) -> None:
    assert options.page_size(asked) == read


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError, match="page_size"):
        options.page_size(-1)


def test_a_hash_is_a_hash_and_nothing_else() -> None:
    assert options.file_hash("file_hash", "0" * 64) == "0" * 64
    for wrong in ("", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "../" * 21 + "a", "٣" * 64):
        with pytest.raises(errors.InvalidRequestError, match="file_hash"):
            options.file_hash("file_hash", wrong)


def test_policies_have_their_defaults() -> None:
    read = options.policy(types_pb2.BatchOptions(), max_attempts=7)
    assert read == lookup.Policy(
        cache=lookup.CachePolicy.USE, resubmit=lookup.ResubmitPolicy.ALWAYS, max_attempts=7
    )


@pytest.mark.parametrize("cache", lookup.CachePolicy)
@pytest.mark.parametrize("resubmit", lookup.ResubmitPolicy)
def test_policies_are_read(cache: lookup.CachePolicy, resubmit: lookup.ResubmitPolicy) -> None:
    asked = types_pb2.BatchOptions(
        cache_policy=types_pb2.CachePolicy.Value(f"CACHE_POLICY_{cache}"),
        resubmit_policy=types_pb2.ResubmitPolicy.Value(f"RESUBMIT_POLICY_{resubmit}"),
    )
    read = options.policy(asked, max_attempts=1)
    assert (read.cache, read.resubmit) == (cache, resubmit)


@pytest.mark.parametrize("name", ["cache_policy", "resubmit_policy"])
def test_a_policy_of_a_newer_contract_is_refused(name: str) -> None:
    asked = types_pb2.BatchOptions(**{name: 99})  # type: ignore[arg-type]  # by name
    with pytest.raises(errors.InvalidRequestError, match=f"options.{name}: 99 is not a value"):
        options.policy(asked, max_attempts=1)


@pytest.mark.parametrize("asked", [0, 1, 65_536, limits.MAX_INLINE_OUTPUT_BYTES])
def test_outputs_are_inline_up_to_what_is_asked(asked: int) -> None:
    given = types_pb2.BatchOptions(max_inline_output_bytes=asked)
    assert options.max_inline_output_bytes("options.", given) == asked


def test_the_inline_limit_is_the_servers_when_nothing_is_asked() -> None:
    assert options.max_inline_output_bytes("", types_pb2.BatchOptions()) is None


@pytest.mark.parametrize("asked", [-1, limits.MAX_INLINE_OUTPUT_BYTES + 1])
def test_an_inline_limit_out_of_bounds_is_refused(asked: int) -> None:
    given = types_pb2.BatchOptions(max_inline_output_bytes=asked)
    with pytest.raises(errors.InvalidRequestError, match=r"options\.max_inline_output_bytes"):
        options.max_inline_output_bytes("options.", given)
