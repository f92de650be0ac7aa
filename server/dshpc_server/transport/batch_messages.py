"""Messages about batches as such, without their rows."""

from dshpc.v1 import batch_service_pb2
from dshpc_server.store import records
from dshpc_server.transport import moments


def batch_message(record: records.BatchRecord) -> batch_service_pb2.Batch:
    """Return what is told of a batch."""
    return batch_service_pb2.Batch(
        batch_id=record.batch_id,
        display_name=record.display_name,
        priority=record.priority,
        create_time=moments.timestamp(record.created_at),
    )
