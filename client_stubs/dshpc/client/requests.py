"""Requests as both clients make them."""

import uuid
from collections.abc import Iterable

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

RESULTS_PER_MESSAGE = 100
"""Results that may come in one message where nobody looks at the messages."""


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


def watch(
    batch_id: str,
    *,
    resume_token: str,
    reporting: types_pb2.StreamOptions | None,
    max_inline_output_bytes: int | None,
) -> batch_service_pb2.WatchBatchRequest:
    """Return the request for the events of a batch that exists."""
    return batch_service_pb2.WatchBatchRequest(
        batch_id=batch_id,
        resume_token=resume_token,
        stream=reporting,
        max_inline_output_bytes=max_inline_output_bytes,
    )


def ends_only() -> types_pb2.StreamOptions:
    """Return how a stream reports when only the ends of jobs matter: as briefly as it can."""
    return types_pb2.StreamOptions(max_results_per_message=RESULTS_PER_MESSAGE)


def batch(
    batch_id: str, *, wait_seconds: float | None, if_changed_since: str
) -> batch_service_pb2.GetBatchRequest:
    """Return the request for a batch, now or when it has changed."""
    request = batch_service_pb2.GetBatchRequest(
        batch_id=batch_id, if_changed_since=if_changed_since
    )
    if wait_seconds is not None:
        request.wait.FromNanoseconds(round(wait_seconds * 1e9))
    return request


def retry(batch_id: str, *, request_id: str) -> batch_service_pb2.RetryBatchRequest:
    """Return the request for a new batch of what failed in another."""
    return batch_service_pb2.RetryBatchRequest(
        batch_id=batch_id, request_id=request_id or new_request_id()
    )


def new_request_id() -> str:
    """Return a name for a request, by which the server knows it when it comes again."""
    return str(uuid.uuid4())


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
    if not chosen.request_id and not chosen.validate_only:  # what is only validated is not kept
        chosen.request_id = new_request_id()
    return chosen


def _wait(until: types_pb2.Until.ValueType, timeout_seconds: float | None) -> types_pb2.WaitPolicy:
    policy = types_pb2.WaitPolicy(until=until)
    if timeout_seconds is not None:
        policy.timeout.FromNanoseconds(round(timeout_seconds * 1e9))
    return policy
