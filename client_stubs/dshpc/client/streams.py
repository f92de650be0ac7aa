"""What a client knows of a batch whose events it reads, and what the end of the events means."""

import collections

from dshpc.client import errors
from dshpc.v1 import job_service_pb2, types_pb2


class BatchState:
    """A batch as far as its stream has told."""

    def __init__(self) -> None:
        self.batch_id = ""
        self.statistics: types_pb2.JobStatistics | None = None
        """The newest counts; the closing ones once `is_complete`."""
        self.is_complete = False
        self.is_accepted = False

    def take(self, event: job_service_pb2.StreamSimulateJobsResponse) -> None:
        """Learn from an event."""
        kind = event.WhichOneof("event")
        if kind == "accepted":
            self.batch_id = event.accepted.batch_id
            self.is_accepted = True
        elif kind == "progress":
            self.statistics = event.progress
        elif kind == "statistics":
            self.statistics = event.statistics
            self.is_complete = True

    def incomplete(self, reason: str) -> errors.IncompleteStreamError:
        """Return the error for a stream that ends here."""
        return errors.IncompleteStreamError(self.batch_id, reason=reason)


class Rows:
    """The rows that an event brought and nobody has taken yet, and what the events told."""

    def __init__(self) -> None:
        self._state = BatchState()
        self._waiting: collections.deque[types_pb2.MultiJobResult] = collections.deque()

    @property
    def batch_id(self) -> str:
        """The batch's id, known with the first row."""
        return self._state.batch_id

    @property
    def statistics(self) -> types_pb2.JobStatistics | None:
        """The counts over the whole batch, known after the last row."""
        return self._state.statistics

    def take(self, event: job_service_pb2.StreamSimulateJobsResponse) -> None:
        """Learn from an event."""
        self._state.take(event)
        if event.HasField("result"):
            self._waiting.append(event.result)
        else:
            self._waiting.extend(event.results.results)

    def next_row(self) -> types_pb2.MultiJobResult | None:
        """Take a row; None when another event must come first."""
        return self._waiting.popleft() if self._waiting else None
