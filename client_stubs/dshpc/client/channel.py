"""Opening a connection to a server, with the settings that this contract needs.

Calls that may safely be made twice are tried again by gRPC itself while the server is unavailable,
as long as nothing of their answer has come. Batches are among them: each has a `request_id`, by
which the server knows one that it has accepted. Uploads are not; they go on where they were cut
(`dshpc.client.uploads`).
"""

import json
from typing import TypeAlias

import grpc
import grpc.aio
import grpc.experimental

MAX_RECEIVE_BYTES = 64 << 20
"""Twice the largest answer a server may be asked for (`max_response_bytes`: 32 MiB)."""

RETRIED = {
    "dshpc.v1.JobService": (
        *("SimulateJobs", "StreamSimulateJobs"),
        *("GetJob", "ListJobs", "CancelJob", "ReadJobLog"),
    ),
    "dshpc.v1.BatchService": (
        *("GetBatch", "ListBatches", "ListBatchResults", "WatchBatch"),
        *("CancelBatch", "UpdateBatch", "RetryBatch"),
    ),
    "dshpc.v1.FileService": (
        *("GetUpload", "DownloadFile", "FindMissingFiles"),
        *("ListFiles", "GetFile"),
    ),
    "dshpc.v1.MethodService": ("ListMethods", "GetMethod"),
    "dshpc.v1.ServerService": ("GetServerInfo",),
}
"""What is tried again. Not DeleteFile: the second answer would be that there is no such file."""

_Option: TypeAlias = tuple[str, int | str]

# Four attempts within about a second, each pause a little at random.
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_RETRY_BUFFER_BYTES = 33 << 20  # a request of the largest size (32 MiB) can be sent again
_KEEPALIVE_MS = 60_000
_KEEPALIVE_TIMEOUT_MS = 20_000
# A server that restarts is back within seconds.
_FIRST_RECONNECT_MS = 200
_LONGEST_RECONNECT_MS = 5_000


def connect(target: str) -> grpc.Channel:
    """Return a channel to HOST:PORT. It connects at the first call and reconnects by itself."""
    # Streams are read by the thread that iterates, without a thread of their own: up to twice as
    # many results per second from a server in Python (benchmarks/bench_client.py), and more from a
    # faster one.
    reading: _Option = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
    return grpc.insecure_channel(target, options=[reading, *_options(target)])


def connect_async(target: str) -> grpc.aio.Channel:
    """Return an asyncio channel to HOST:PORT; only for the event loop that runs now."""
    return grpc.aio.insecure_channel(target, options=_options(target))


def _options(target: str) -> list[_Option]:
    options: list[_Option] = [
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        # A stream waits for hours; a peer that vanished must be noticed.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MS),
        ("grpc.enable_retries", 1),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        ("grpc.service_config", _service_config()),
    ]
    if _is_loopback(target):
        # A proxy named in the environment cannot reach this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _service_config() -> str:
    names = [
        {"service": service, "method": method}
        for service, methods in RETRIED.items()
        for method in methods
    ]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": _RETRY_POLICY}]})


def _is_loopback(target: str) -> bool:
    return target.startswith(("localhost:", "127.", "[::1]", "ipv4:127.", "ipv6:[::1]", "unix:"))
