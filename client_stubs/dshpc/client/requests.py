"""Requests as both clients make them."""

from collections.abc import Iterable
from typing import TypeAlias

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

RESULTS_PER_MESSAGE = 100
"""Results that may come in one message where nobody looks at the messages."""

BatchRequest: TypeAlias = (
    job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest
)

_RUN_ANEW = frozenset({types_pb2.CACHE_POLICY_REFRESH, types_pb2.CACHE_POLICY_BYPASS})


def simulate(
    configs: Iterable[types_pb2.JobConfig],
    *,
    options: types_pb2.BatchOptions | None,
    display_name: str,
    until: types_pb2.Until.ValueType,
    timeout_seconds: float | None,
) -> job_service_pb2.SimulateJobsRequest:
    """Return the request for a consolidated answer."""
    return job_service_pb2.SimulateJobsRequest(
        jobs=configs,
        options=_options(options, display_name),
        wait=_wait(until, timeout_seconds),
    )


def stream(
    configs: Iterable[types_pb2.JobConfig],
    *,
    options: types_pb2.BatchOptions | None,
    display_name: str,
    until: types_pb2.Until.ValueType,
    timeout_seconds: float | None,
    reporting: types_pb2.StreamOptions | None,
) -> job_service_pb2.StreamSimulateJobsRequest:
    """Return the request for a batch's events."""
    return job_service_pb2.StreamSimulateJobsRequest(
        jobs=configs,
        options=_options(options, display_name),
        wait=_wait(until, timeout_seconds),
        stream=reporting,
    )


def may_be_repeated(request: BatchRequest) -> bool:
    """Whether sending a batch a second time runs nothing that the first has completed."""
    if request.options.validate_only:
        return True
    asked = {request.options.cache_policy, *(config.cache_policy for config in request.jobs)}
    return not asked & _RUN_ANEW


def ends_only() -> types_pb2.StreamOptions:
    """Return how a stream reports when only the ends of jobs matter: as briefly as it can."""
    return types_pb2.StreamOptions(max_results_per_message=RESULTS_PER_MESSAGE)


def results(
    batch_id: str,
    *,
    page_token: str,
    page_size: int,
    statuses: Iterable[types_pb2.JobStatus.ValueType],
    outcomes: Iterable[types_pb2.Outcome.ValueType],
    max_inline_output_bytes: int | None,
) -> batch_service_pb2.ListBatchResultsRequest:
    """Return the request for a page of rows."""
    return batch_service_pb2.ListBatchResultsRequest(
        batch_id=batch_id,
        page_size=page_size,
        page_token=page_token,
        statuses=statuses,
        outcomes=outcomes,
        max_inline_output_bytes=max_inline_output_bytes,
    )


def job(
    job_id: str,
    *,
    wait_seconds: float | None,
    known_status: types_pb2.JobStatus.ValueType,
) -> job_service_pb2.GetJobRequest:
    """Return the request for a job, now or when it has changed."""
    request = job_service_pb2.GetJobRequest(job_id=job_id, known_status=known_status)
    if wait_seconds is not None:
        request.wait.FromNanoseconds(round(wait_seconds * 1e9))
    return request


def _options(options: types_pb2.BatchOptions | None, display_name: str) -> types_pb2.BatchOptions:
    chosen = types_pb2.BatchOptions()
    if options is not None:
        chosen.CopyFrom(options)
    if display_name:
        chosen.display_name = display_name
    return chosen


def _wait(until: types_pb2.Until.ValueType, timeout_seconds: float | None) -> types_pb2.WaitPolicy:
    policy = types_pb2.WaitPolicy(until=until)
    if timeout_seconds is not None:
        policy.timeout.FromNanoseconds(round(timeout_seconds * 1e9))
    return policy
