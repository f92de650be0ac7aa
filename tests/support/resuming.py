"""Streams of batches that are cut and resumed, and what of them a client has in the end.

A client merges rows by (index, attempt, status): what it is told twice counts once, and of each key
whatever it is told is the same.
"""

import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator

import grpc

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, fault_proxy

Event = job_service_pb2.StreamSimulateJobsResponse | batch_service_pb2.WatchBatchResponse
Key = tuple[int, int, int]
SECONDS = 120.0
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


@dataclasses.dataclass
class Client:
    """What a client has been told of one batch, by any number of streams."""

    batch_id: str = ""
    resume_token: str = ""
    rows: dict[Key, types_pb2.MultiJobResult] = dataclasses.field(default_factory=dict)
    told: int = 0
    """How many rows came, those that came again among them."""
    statistics: types_pb2.JobStatistics | None = None
    """The closing ones."""

    def take(self, event: Event) -> None:
        """Take one message in."""
        assert event.resume_token, event
        assert self.statistics is None, "nothing comes after the statistics"
        self.resume_token = event.resume_token
        match event.WhichOneof("event"):
            case "accepted":
                assert self.batch_id in ("", event.accepted.batch_id)
                self.batch_id = event.accepted.batch_id
            case "result":
                self._add(event.result)
            case "results":
                for row in event.results.results:
                    self._add(row)
            case "statistics":
                self.statistics = event.statistics

    def take_all(self, events: Iterable[Event]) -> None:
        """Take in a stream to its end; it begins with `accepted` and closes."""
        is_first = True
        for event in events:
            assert (event.WhichOneof("event") == "accepted") == is_first
            is_first = False
            self.take(event)
        assert self.statistics is not None

    @property
    def ended(self) -> dict[int, types_pb2.MultiJobResult]:
        """The rows that ended, by index."""
        return {row.index: row for row in self.rows.values() if row.new_status in calls.TERMINAL}

    def _add(self, row: types_pb2.MultiJobResult) -> None:
        self.told += 1
        key = (row.index, row.attempt, row.new_status)
        known = self.rows.setdefault(key, row)
        assert known == row, "what is told again is the same"


def watch(
    service: calls.Service,
    batch_id: str,
    resume_token: str = "",
    *,
    stream: types_pb2.StreamOptions | None = None,
    seconds: float = SECONDS,
) -> Iterator[batch_service_pb2.WatchBatchResponse]:
    """Follow a batch."""
    asked = batch_service_pb2.WatchBatchRequest(
        batch_id=batch_id,
        resume_token=resume_token,
        stream=stream,
    )
    return service.batches.WatchBatch(asked, timeout=seconds)


def epoch_of(resume_token: str) -> str:
    """The beginning of the deployment_id that a token is of."""
    padded = resume_token + "=" * (-len(resume_token) % 4)
    return str(json.loads(base64.urlsafe_b64decode(padded))[0])


def cut_after(
    proxy: fault_proxy.Proxy,
    count: int,
    client: Client,
    stream: types_pb2.StreamOptions | None = None,
) -> None:
    """Follow a batch through a proxy, and lose the connection behind so many messages."""
    with grpc.insecure_channel(proxy.address, options=_OPTIONS) as channel:
        events = watch(calls.Service(channel), client.batch_id, client.resume_token, stream=stream)
        for _ in range(count):
            client.take(next(events))
        assert proxy.cut() > 0
        # What had come already and was not looked at is lost with the client.
        with contextlib.suppress(grpc.RpcError):
            for _ in events:
                pass
