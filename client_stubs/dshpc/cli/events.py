"""The rows that an event of a batch holds."""

from collections.abc import Sequence

from dshpc.v1 import job_service_pb2, types_pb2


def rows(
    event: job_service_pb2.StreamSimulateJobsResponse,
) -> Sequence[types_pb2.MultiJobResult]:
    """Return the results of an event, alone or in a group; those of other events are none."""
    return [event.result] if event.HasField("result") else event.results.results
