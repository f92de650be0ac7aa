"""Opening a connection to a server, with the settings that this contract needs."""

import grpc
import grpc.experimental

MAX_RECEIVE_BYTES = 64 << 20
"""Twice the largest answer a server may be asked for (`max_response_bytes`: 32 MiB)."""

_KEEPALIVE_MS = 60_000
_KEEPALIVE_TIMEOUT_MS = 20_000


def connect(target: str) -> grpc.Channel:
    """Return a channel to HOST:PORT. It connects at the first call and reconnects by itself."""
    options: list[tuple[str, int]] = [
        # Streams are read by the thread that iterates, without a thread of
        # their own: an order of magnitude more results per second.
        (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        # A stream waits for hours; a peer that vanished must be noticed.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ]
    if _is_loopback(target):
        # A proxy named in the environment cannot reach this machine's loopback.
        options.append(("grpc.enable_http_proxy", 0))
    return grpc.insecure_channel(target, options=options)


def _is_loopback(target: str) -> bool:
    return target.startswith(("localhost:", "127.", "[::1]", "ipv4:127.", "ipv6:[::1]", "unix:"))
