"""From a batch's values to its messages: the batch itself, and the events of its streams."""

import datetime
from collections.abc import Mapping

from dshpc.v1 import batch_service_pb2, job_service_pb2
from dshpc_server.batches import overview, streaming
from dshpc_server.transport import answers, moments

STATE_VALUE: Mapping[overview.BatchState, batch_service_pb2.BatchState.ValueType] = {
    state: batch_service_pb2.BatchState.Value(f"BATCH_STATE_{state}")
    for state in overview.BatchState
}
"""The message's value of each state."""


def batch_message(
    found: overview.Overview, *, as_of: datetime.datetime, resume_token: str = ""
) -> batch_service_pb2.Batch:
    """Return a batch as a message; where batches are listed it has no token."""
    batch = found.batch
    message = batch_service_pb2.Batch(
        batch_id=batch.batch_id,
        display_name=batch.display_name,
        state=STATE_VALUE[found.state],
        statistics=answers.statistics_message(found.statistics, as_of),
        priority=batch.priority,
        create_time=moments.timestamp(batch.created_at),
        resume_token=resume_token,
        reason=batch.cancel_reason or "",
    )
    if found.tally.is_final:
        message.end_time.CopyFrom(moments.timestamp(found.tally.ended_at))
    return message


def event_message(
    event: streaming.BatchEvent, *, resume_token: str, at: datetime.datetime
) -> bytes:
    """Return an event encoded; WatchBatch's have the same fields and numbers."""
    if isinstance(event, streaming.Results):
        return answers.result_event(event.rows, at, resume_token)
    message = job_service_pb2.StreamSimulateJobsResponse(
        resume_token=resume_token, event_time=moments.timestamp(at)
    )
    match event:
        case streaming.Accepted():
            message.accepted.batch_id = event.batch_id
            message.accepted.total_jobs = event.total_jobs
            message.accepted.duplicate_request = event.duplicate_request
        case streaming.Progress():
            message.progress.CopyFrom(answers.statistics_message(event.statistics, at))
        case streaming.Bookmark():
            message.bookmark.SetInParent()
        case streaming.Closing():
            message.statistics.CopyFrom(answers.statistics_message(event.statistics, at))
    return message.SerializeToString()
