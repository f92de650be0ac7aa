"""Options of a call, read within their bounds; what is out of bounds raises InvalidRequestError."""

from collections.abc import Mapping

from google.protobuf import duration_pb2

from dshpc.v1 import batch_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.batches import streaming
from dshpc_server.domain import identity, job, lookup
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import known, limits, moments

_DEFAULT_HEARTBEAT_SECONDS = 15.0
_MIN_HEARTBEAT_SECONDS = 1.0
_MIN_STATISTICS_SECONDS = 0.1
_MAX_RESULTS_PER_MESSAGE = 1000


def max_response_bytes(options: types_pb2.BatchOptions) -> int:
    """Read how large a unary answer may be."""
    asked = options.max_response_bytes
    if asked < 0 or asked > limits.MAX_RESPONSE_BYTES:
        raise _invalid(
            "options.max_response_bytes",
            f"{asked} is not between 0 (default) and {limits.MAX_RESPONSE_BYTES}",
        )
    return asked or limits.DEFAULT_RESPONSE_BYTES


def max_inline_output_bytes(
    path: str,
    asked: types_pb2.BatchOptions
    | batch_service_pb2.ListBatchResultsRequest
    | batch_service_pb2.WatchBatchRequest,
) -> int | None:
    """Read how long an output may be to be answered inline; None for the server's own limit."""
    if not asked.HasField("max_inline_output_bytes"):
        return None
    wanted = asked.max_inline_output_bytes
    if not 0 <= wanted <= limits.MAX_INLINE_OUTPUT_BYTES:
        raise _invalid(
            f"{path}max_inline_output_bytes",
            f"{wanted} is not between 0 and {limits.MAX_INLINE_OUTPUT_BYTES}",
        )
    return wanted


def max_failures(options: types_pb2.BatchOptions) -> int:
    """Read how many jobs may fail; 0 for any number."""
    if options.max_failures < 0:
        raise _invalid("options.max_failures", "must not be negative")
    return options.max_failures


def policy(options: types_pb2.BatchOptions, *, max_attempts: int) -> lookup.Policy:
    """Read the batch's policies."""
    cache = cache_policy("options.cache_policy", options.cache_policy)
    if options.resubmit_policy not in _RESUBMIT_POLICIES:
        raise _invalid(
            "options.resubmit_policy",
            f"{options.resubmit_policy} is not a value of ResubmitPolicy",
        )
    return lookup.Policy(
        cache=cache or lookup.CachePolicy.USE,
        resubmit=_RESUBMIT_POLICIES[options.resubmit_policy],
        max_attempts=max_attempts,
    )


def priority(field: str, asked: int) -> int:
    """Read a priority."""
    if not job.LOWEST_PRIORITY <= asked <= job.HIGHEST_PRIORITY:
        raise _invalid(
            field, f"{asked} is not between {job.LOWEST_PRIORITY} and {job.HIGHEST_PRIORITY}"
        )
    return asked


def cache_policy(field: str, value: int) -> lookup.CachePolicy | None:
    """Read a cache policy; None when it is left to the batch or the default."""
    if value not in _CACHE_POLICIES:
        raise _invalid(field, f"{value} is not a value of CachePolicy")
    return _CACHE_POLICIES[value]


_CACHE_POLICIES: Mapping[int, lookup.CachePolicy | None] = {
    types_pb2.CACHE_POLICY_UNSPECIFIED: None,
    **{
        types_pb2.CachePolicy.Value(f"CACHE_POLICY_{policy}"): policy
        for policy in lookup.CachePolicy
    },
}
_RESUBMIT_POLICIES: Mapping[int, lookup.ResubmitPolicy] = {
    types_pb2.RESUBMIT_POLICY_UNSPECIFIED: lookup.ResubmitPolicy.ALWAYS,
    **{
        types_pb2.ResubmitPolicy.Value(f"RESUBMIT_POLICY_{policy}"): policy
        for policy in lookup.ResubmitPolicy
    },
}


def reporting(options: types_pb2.StreamOptions) -> streaming.Reporting:
    """Read how a stream reports."""
    known.refuse_unknown("stream", options)
    return streaming.Reporting(
        transitions=options.include_transitions,
        heartbeat_seconds=_interval(
            "heartbeat_interval", options.heartbeat_interval, _MIN_HEARTBEAT_SECONDS
        )
        if options.HasField("heartbeat_interval")
        else _DEFAULT_HEARTBEAT_SECONDS,
        statistics_seconds=_interval(
            "statistics_interval", options.statistics_interval, _MIN_STATISTICS_SECONDS
        )
        if options.HasField("statistics_interval")
        else None,
    )


def results_per_message(options: types_pb2.StreamOptions) -> int:
    """Read how many results a message may hold."""
    asked = options.max_results_per_message
    if not 0 <= asked <= _MAX_RESULTS_PER_MESSAGE:
        raise _invalid(
            "stream.max_results_per_message",
            f"{asked} is not between 0 (default, 1) and {_MAX_RESULTS_PER_MESSAGE}",
        )
    return asked or 1


def page_size(asked: int) -> int:
    """Read a page size: 0 is the default, larger than the maximum means the maximum."""
    if asked < 0:
        raise _invalid("page_size", "must not be negative")
    return min(asked or limits.DEFAULT_PAGE_SIZE, limits.MAX_PAGE_SIZE)


def file_hash(field: str, text: str) -> str:
    """Read a content hash."""
    if not identity.is_hash(text):
        raise _invalid(field, "must be a SHA-256 in lower-case hex, 64 digits")
    return text


def _interval(name: str, duration: duration_pb2.Duration, minimum: float) -> float:
    seconds = moments.seconds(duration)
    if seconds < minimum:
        raise _invalid(f"stream.{name}", f"must be at least {minimum:g} s")
    return seconds


def _invalid(field: str, description: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(Violation(field=field, description=description))
