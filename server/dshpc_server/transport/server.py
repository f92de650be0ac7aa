"""The gRPC server: options, services, health and reflection, put together.

Promises: nothing is served before every service is registered; a port is never shared with another
process by accident; silent, idle and dead connections are closed; a stop ends at once what may
last, lets short calls end on their own for a grace, and is over soon after, whatever clients do.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf import descriptor

from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    server_service_pb2,
)
from dshpc_server.transport import edge, health, limits, listening, reflection

SERVICES: Mapping[str, descriptor.ServiceDescriptor] = {
    service.name: service
    for module in (
        job_service_pb2,
        batch_service_pb2,
        file_service_pb2,
        method_service_pb2,
        server_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
}
"""The contract's services by their short name."""
ENGINE_HEALTH = "dshpc.engine"
"""The health service's name for whether jobs can be started."""
HANDSHAKE_TIMEOUT_SECONDS = 10.0
"""How long a connection may say nothing before it speaks HTTP/2."""
IDLE_TIMEOUT_SECONDS = 600.0
"""How long a connection without a call is kept; clients connect again by themselves."""
KEEPALIVE_SECONDS = 60.0
KEEPALIVE_TIMEOUT_SECONDS = 20.0
"""A connection that does not answer a ping for so long is dead, and its calls are cancelled."""
MIN_PING_INTERVAL_SECONDS = 10.0
"""Clients that ping more often are sent away."""
_MAX_ENTRIES = limits.MAX_HASHES_PER_REQUEST
_MOST_STREAMS = 2**31 - 1
_MOST_PENDING = 10_000
"""Calls that wait to be looked at. With more gRPC cancels some at random, with CANCELLED and not a
word (its default is 1,000); our own limits are to come first, which say why."""
_TELL_SECONDS = 0.25
"""How long those who watch the health are waited for before the calls are ended."""
_REFUSE_SECONDS = 0.1
"""How long new calls are refused at the least. Once gRPC itself stops, what is just coming is
CANCELLED, without a reason."""
_LAST_SECONDS = 0.5
"""Between ending the last calls and closing their connections. With the times above and the default
grace, a stop that clients hold up as long as they can takes 1.75 s."""


class GrpcServer:
    """A grpc.aio server with the contract's services. Made inside the running loop."""

    def __init__(self, *, servicers: Mapping[str, object], limits: limits.Limits) -> None:
        self._server = grpc.aio.server(options=_options(limits))
        self._edge = edge.Edge(
            write_stall_seconds=limits.write_stall_seconds,
            max_calls=limits.max_calls,
            max_streams=limits.max_streams,
            max_uploads=limits.max_uploads,
            max_entries=max(limits.max_jobs_per_request, _MAX_ENTRIES),
        )
        self._health = health.HealthServicer()
        self._server.add_generic_rpc_handlers(
            (
                *(self._edge.service(each, servicers[name]) for name, each in SERVICES.items()),
                *self._standard_services(),
            )
        )

    async def start(self, address: str) -> int:
        """Serve on HOST:PORT; the port, also when 0 was asked for."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:  # somebody was quicker
            raise listening.ListenError(address, str(error)) from error
        await self._server.start()
        for name in ("", *(service.full_name for service in SERVICES.values())):
            self._health.tell(name, healthy=True)
        return port

    async def tell_engine_health(self, *, healthy: bool) -> None:
        """Set the health of `dshpc.engine`."""
        self._health.tell(ENGINE_HEALTH, healthy=healthy)

    async def stop(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, end streams, uploads and waits at once and other calls after the grace.

        Calls that are ended get UNAVAILABLE and advice to retry; jobs are not touched.
        """
        await self._health.stop(_TELL_SECONDS)
        self._edge.drain(short_too=False)
        refused = asyncio.create_task(asyncio.sleep(_REFUSE_SECONDS))
        await self._edge.wait_until_ended(grace_seconds)
        self._edge.drain(short_too=True)
        await refused
        # A client that does not read does not take its status either.
        await self._server.stop(_LAST_SECONDS)

    def _standard_services(self) -> Iterator[grpc.GenericRpcHandler]:
        name = health.SERVICE.full_name
        yield self._edge.standard_service(health.SERVICE, self._health, name=name)
        served = [*(each.full_name for each in SERVICES.values()), name, *reflection.NAMES[:1]]
        reflecting = reflection.ReflectionServicer(served)
        for name in reflection.NAMES:
            yield self._edge.standard_service(reflection.SERVICE, reflecting, name=name)


def _options(limits: limits.Limits) -> list[tuple[str, Any]]:
    # A connection has room for every call that may be open, and for one of each class that is
    # told so: what is refused must not wait behind what is open.
    open_calls = limits.max_calls + limits.max_streams + limits.max_uploads
    return [
        # A second server on the same port is an error, not a silent share of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # Unread uploads are held per stream: without the probe a stream's window stays small.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1024 * 1024),
        ("grpc.max_concurrent_streams", min(open_calls + 3, _MOST_STREAMS)),
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _MOST_PENDING),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(MIN_PING_INTERVAL_SECONDS)),
        # Without this a client that pings while it has no call is sent away after three pings.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", _ms(KEEPALIVE_SECONDS)),
        ("grpc.keepalive_timeout_ms", _ms(KEEPALIVE_TIMEOUT_SECONDS)),
        ("grpc.server_handshake_timeout_ms", _ms(HANDSHAKE_TIMEOUT_SECONDS)),
        ("grpc.max_connection_idle_ms", _ms(IDLE_TIMEOUT_SECONDS)),
    ]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
