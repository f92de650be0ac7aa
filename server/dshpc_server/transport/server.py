"""The gRPC server: options, services, health and reflection, put together.

Promises: nothing is served before every service is registered; a port is never shared with another
process by accident; stopping lets calls end on their own for a grace.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import descriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    server_service_pb2,
)
from dshpc_server import errors
from dshpc_server.transport import edge, limits

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
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
_LAST_SECONDS = 1.0
"""Between ending the last calls and closing their connections."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ListenError(errors.DshpcError):
    """The address cannot be served on."""


class GrpcServer:
    """A grpc.aio server with the contract's services. Made inside the running loop."""

    def __init__(self, *, servicers: Mapping[str, object], limits: limits.Limits) -> None:
        self._server = grpc.aio.server(options=_options(limits))
        self._edge = edge.Edge(write_stall_seconds=limits.write_stall_seconds)
        self._health = health.aio.HealthServicer()
        for name, service in SERVICES.items():
            self._server.add_generic_rpc_handlers((self._edge.service(service, servicers[name]),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        _add_reflection(self._server)

    async def start(self, address: str) -> int:
        """Serve on HOST:PORT; the port, also when 0 was asked for."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {address}: {error}") from error
        if port == 0:
            raise ListenError(f"cannot listen on {address}")
        await self._server.start()
        for name in ("", *(service.full_name for service in SERVICES.values())):
            await self._health.set(name, _SERVING)
        return port

    async def tell_engine_health(self, *, healthy: bool) -> None:
        """Set the health of `dshpc.engine`."""
        await self._health.set(ENGINE_HEALTH, _SERVING if healthy else _NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, end streams at once and other calls after the grace.

        Calls that are ended get UNAVAILABLE and advice to retry; jobs are not touched.
        """
        await self._health.enter_graceful_shutdown()
        self._edge.drain(streams_only=True)
        stopping = asyncio.create_task(self._server.stop(grace_seconds + _LAST_SECONDS))
        await self._edge.wait_until_ended(grace_seconds)
        self._edge.drain(streams_only=False)
        # Those who watch the health are not ours to end, and would use up the whole grace.
        await self._server.stop(_LAST_SECONDS)
        await stopping


def _options(limits: limits.Limits) -> list[tuple[str, Any]]:
    return [
        # A second server on the same port is an error, not a silent share of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # Unread uploads are held per stream: without the probe a stream's window stays small.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1024 * 1024),
        ("grpc.max_concurrent_streams", 1000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]


def _add_reflection(server: grpc.aio.Server) -> None:
    """Serve reflection v1alpha, and the same under the name v1 (grpc issue 38576)."""
    names = [
        *(service.full_name for service in SERVICES.values()),
        health.SERVICE_NAME,
        reflection.SERVICE_NAME,
    ]
    servicer = reflection.aio.ReflectionServicer(service_names=names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, REFLECTION_V1):
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )
