"""The events of a batch over as many calls as it takes, and the rows that they bring.

Promises: a row comes once for each of its attempts and statuses, whatever the server sends again;
`accepted` is the first event, `statistics` the last.
"""

import collections
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import grpc

from dshpc.client import errors, retries, statuses
from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

WATCH_BATCH = "/dshpc.v1.BatchService/WatchBatch"

Event: TypeAlias = job_service_pb2.StreamSimulateJobsResponse
"""An event of either call: those of WatchBatch have the same fields and numbers."""

OnPause: TypeAlias = Callable[[errors.CallError, float], None]
"""Hears what has cut a stream off, and in how many seconds it goes on."""

BatchRequest: TypeAlias = (
    job_service_pb2.StreamSimulateJobsRequest | batch_service_pb2.WatchBatchRequest
)

BROKEN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        # A reader that was too slow, or too many streams.
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        # So a connection that was reset may show, too.
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""How a stream may end that is worth going on with."""

_LEAST_WAIT_SECONDS = 0.001


class BatchReading:
    """The events of a batch: of one that is submitted, or of one that exists.

    A submission that is cut off before its first event is a failed call. After that WatchBatch goes
    on behind the last event. That call has no end but the batch's: where one was asked for, the
    submission itself is sent again, which its `request_id` makes harmless.
    """

    def __init__(
        self,
        asked: BatchRequest,
        backoff: retries.Backoff,
        *,
        on_pause: OnPause | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = asked
        self._on_pause = on_pause
        self._backoff = backoff
        self._monotonic = monotonic
        self._has_begun = False
        self._batch_id = ""
        self._resume_token = ""
        self._known: dict[int, tuple[int, int]] = {}
        self.is_over = False
        self._ends_at: float | None = None
        if isinstance(asked, batch_service_pb2.WatchBatchRequest):
            self._batch_id, self._resume_token = asked.batch_id, asked.resume_token

    def request(self) -> BatchRequest:
        """Return the request for what has not come yet."""
        asked = self._asked
        if isinstance(asked, batch_service_pb2.WatchBatchRequest):
            again = batch_service_pb2.WatchBatchRequest()
            again.CopyFrom(asked)
            again.resume_token = self._resume_token
            return again
        if not self._has_begun:
            if asked.wait.HasField("timeout"):
                self._ends_at = self._monotonic() + asked.wait.timeout.ToNanoseconds() / 1e9
            return asked
        if self._must_be_asked_again(asked):
            return self._shortened(asked)
        return batch_service_pb2.WatchBatchRequest(
            batch_id=self._batch_id,
            resume_token=self._resume_token,
            stream=asked.stream,
            max_inline_output_bytes=(
                asked.options.max_inline_output_bytes
                if asked.options.HasField("max_inline_output_bytes")
                else None
            ),
        )

    def take(self, response: Event) -> Event | None:
        """Learn from an event; what of it is news."""
        if response.resume_token:
            self._resume_token = response.resume_token
        kind = response.WhichOneof("event")
        if kind == "accepted":
            return self._begun(response)
        news: Event | None = response
        if kind == "result":
            news = response if self._news([response.result]) else None
        elif kind == "results":
            news = self._without_what_is_known(response)
        if news is not None:
            self._backoff.progressed()
        self.is_over = kind == "statistics"
        return news

    def ended(self) -> None:
        """Raise ServerUnavailableError unless the statistics have come."""
        if not self.is_over:
            reason = "the server ended it" if self._has_begun else "a batch's stream ended at once"
            raise errors.ServerUnavailableError(
                errors.Failure(code=grpc.StatusCode.UNAVAILABLE, message=reason)
            )

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on. Raises IncompleteStreamError to give up."""
        if not self._has_begun:
            raise error
        incomplete = errors.IncompleteStreamError(
            self._batch_id, reason=str(error), resume_token=self._resume_token
        )
        if error.code not in BROKEN:
            raise incomplete from error
        try:
            pause_seconds = self._backoff.pause_seconds(error)
        except errors.CallError:
            raise incomplete from error
        if self._ends_at is not None:
            left_seconds = self._ends_at - self._monotonic()
            if left_seconds <= 0:
                raise incomplete from error
            pause_seconds = min(pause_seconds, left_seconds)
        if self._on_pause is not None:
            self._on_pause(error, pause_seconds)
        return pause_seconds

    def _must_be_asked_again(self, asked: job_service_pb2.StreamSimulateJobsRequest) -> bool:
        is_watched_to_its_end = asked.wait.until in (
            types_pb2.UNTIL_UNSPECIFIED,
            types_pb2.UNTIL_FINISHED,
        )
        return (
            not self._batch_id  # what is only validated is no batch
            or not is_watched_to_its_end
            or self._ends_at is not None
        )

    def _shortened(
        self, asked: job_service_pb2.StreamSimulateJobsRequest
    ) -> job_service_pb2.StreamSimulateJobsRequest:
        """Return the submission with what is left of its wait."""
        again = job_service_pb2.StreamSimulateJobsRequest()
        again.CopyFrom(asked)
        if self._ends_at is not None:
            left_seconds = max(self._ends_at - self._monotonic(), _LEAST_WAIT_SECONDS)
            again.wait.timeout.FromNanoseconds(round(left_seconds * 1e9))
        return again

    def _begun(self, event: Event) -> Event | None:
        if self._has_begun:
            return None
        self._has_begun = True
        self._batch_id = event.accepted.batch_id
        self._backoff.progressed()
        return event

    def _without_what_is_known(self, event: Event) -> Event | None:
        """Return the event, without rows that came before; None when nothing is left."""
        results = event.results.results
        new = self._news(results)
        if len(new) == len(results):
            return event
        if not new:
            return None
        left = Event(
            resume_token=event.resume_token,
            results=job_service_pb2.MultiJobResults(results=new),
        )
        left.event_time.CopyFrom(event.event_time)
        return left

    def _news(self, results: Sequence[types_pb2.MultiJobResult]) -> list[types_pb2.MultiJobResult]:
        """Return those that did not come before. A group may hold thousands: this is one loop."""
        known = self._known
        new: list[types_pb2.MultiJobResult] = []
        for result in results:
            index, now = result.index, (result.attempt, result.new_status)
            before = known.get(index)
            if before is not None and (
                before == now or (before[0] == now[0] and before[1] in statuses.ENDED)
            ):
                continue
            known[index] = now
            new.append(result)
        return new


class Rows:
    """The rows that an event brought and nobody has taken yet, and what the events told."""

    def __init__(self) -> None:
        self._batch_id = ""
        self._statistics: types_pb2.JobStatistics | None = None
        self._waiting: collections.deque[types_pb2.MultiJobResult] = collections.deque()
        self._token_behind = ""
        self._resume_token = ""

    @property
    def batch_id(self) -> str:
        """The batch's id, known with the first row."""
        return self._batch_id

    @property
    def statistics(self) -> types_pb2.JobStatistics | None:
        """The counts over the whole batch, known after the last row."""
        return self._statistics

    @property
    def resume_token(self) -> str:
        """Where `watch_batch` goes on behind the rows that were taken.

        Rows of one message have one place: until the last of them is taken, that before them.
        """
        return self._resume_token

    def take(self, event: Event) -> None:
        """Learn from an event."""
        self._token_behind = event.resume_token or self._token_behind
        kind = event.WhichOneof("event")
        if kind == "accepted":
            self._batch_id = event.accepted.batch_id
        elif kind in ("progress", "statistics"):
            self._statistics = event.progress if kind == "progress" else event.statistics
        elif kind == "result":
            self._waiting.append(event.result)
        else:
            self._waiting.extend(event.results.results)
        self._move_on()

    def next_row(self) -> types_pb2.MultiJobResult | None:
        """Take a row; None when another event must come first."""
        if not self._waiting:
            return None
        row = self._waiting.popleft()
        self._move_on()
        return row

    def _move_on(self) -> None:
        if not self._waiting:
            self._resume_token = self._token_behind
