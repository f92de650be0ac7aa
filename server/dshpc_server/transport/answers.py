"""From the use cases' values to encoded responses.

Responses that hold rows are joined from the rows' bytes (`transport.wire`); everything else is an
ordinary message.
"""

import dataclasses
import datetime
from collections.abc import Sequence

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from dshpc_server.domain import statistics
from dshpc_server.transport import moments, wire

_RESULTS = job_service_pb2.SimulateJobsResponse.RESULTS_FIELD_NUMBER
_PAGE_RESULTS = batch_service_pb2.ListBatchResultsResponse.RESULTS_FIELD_NUMBER
_EVENT_RESULT = job_service_pb2.StreamSimulateJobsResponse.RESULT_FIELD_NUMBER
_EVENT_RESULTS = job_service_pb2.StreamSimulateJobsResponse.RESULTS_FIELD_NUMBER
_GROUP_RESULTS = job_service_pb2.MultiJobResults.RESULTS_FIELD_NUMBER


def statistics_message(
    counts: statistics.Statistics, as_of: datetime.datetime
) -> types_pb2.JobStatistics:
    """Return statistics as a message; the fields have the same names."""
    return types_pb2.JobStatistics(**dataclasses.asdict(counts), as_of=moments.timestamp(as_of))


def simulate_jobs(rows: Sequence[bytes], closing: job_service_pb2.SimulateJobsResponse) -> bytes:
    """Return a response of these rows and of what `closing` holds beside them."""
    return b"".join([*(wire.field(_RESULTS, row) for row in rows), closing.SerializeToString()])


def list_batch_results(
    rows: Sequence[bytes], closing: batch_service_pb2.ListBatchResultsResponse
) -> bytes:
    """Return a page of these rows and of what `closing` holds beside them."""
    return b"".join(
        [*(wire.field(_PAGE_RESULTS, row) for row in rows), closing.SerializeToString()]
    )


def result_event(
    rows: Sequence[bytes], event_time: datetime.datetime, resume_token: str = ""
) -> bytes:
    """Return one event with these rows: `result` for one, `results` for more."""
    head = job_service_pb2.StreamSimulateJobsResponse(
        resume_token=resume_token, event_time=moments.timestamp(event_time)
    ).SerializeToString()
    if len(rows) == 1:
        return head + wire.field(_EVENT_RESULT, rows[0])
    group = b"".join(wire.field(_GROUP_RESULTS, row) for row in rows)
    return head + wire.field(_EVENT_RESULTS, group)
