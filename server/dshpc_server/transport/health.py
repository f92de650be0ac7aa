"""The standard health service (grpc.health.v1), on the edge like every other service.

Promises: setting a health never waits, whatever the clients that watch do or fail to do; who
watches is told the newest health, and when the server stops NOT_SERVING before the watch ends.
"""

import asyncio
import contextlib

from google.protobuf import descriptor, message
from grpc_health.v1 import health_pb2

from dshpc_server import errors
from dshpc_server.transport import edge, room

SERVICE: descriptor.ServiceDescriptor = (
    health_pb2.DESCRIPTOR.services_by_name["Health"]  # type: ignore[assignment]  # upb's own class
)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer:
    """Serves grpc.health.v1.Health."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._watches: set[asyncio.Event] = set()
        self._nobody_watches = asyncio.Event()
        self._nobody_watches.set()
        self._is_stopping = False

    @property
    def watches(self) -> int:
        """How many clients watch."""
        return len(self._watches)

    def tell(self, name: str, *, healthy: bool) -> None:
        """Set the health of a name; without effect once the server stops."""
        if not self._is_stopping:
            self._statuses[name] = _SERVING if healthy else _NOT_SERVING
            self._wake()

    async def stop(self, timeout_seconds: float) -> None:
        """Be NOT_SERVING for good; done when all who watch have been told, or the time is over."""
        self._statuses = dict.fromkeys(self._statuses, _NOT_SERVING)
        self._is_stopping = True
        self._wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._nobody_watches.wait()

    async def check(
        self, asked: health_pb2.HealthCheckRequest, call: edge.Call
    ) -> health_pb2.HealthCheckResponse:
        """Tell the health of a name."""
        del call
        if asked.service not in self._statuses:
            raise errors.NotFoundError("service", asked.service)
        return health_pb2.HealthCheckResponse(status=self._statuses[asked.service])

    async def list(self, asked: message.Message, call: edge.Call) -> message.Message:
        """Tell the health of every name."""
        del asked, call
        response: message.Message = health_pb2.HealthListResponse(  # type: ignore[attr-defined]  # newer than its types
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._statuses.items()
            }
        )
        return response

    async def watch(self, asked: health_pb2.HealthCheckRequest, call: edge.Call) -> None:
        """Tell the health of a name now and whenever it changes."""
        changed = asyncio.Event()
        self._watches.add(changed)
        self._nobody_watches.clear()
        try:
            await self._tell_changes(asked.service, changed, call)
        finally:
            self._watches.discard(changed)
            if not self._watches:
                self._nobody_watches.set()

    async def _tell_changes(self, name: str, changed: asyncio.Event, call: edge.Call) -> None:
        told: int | None = None
        while True:
            changed.clear()
            status = self._statuses.get(name, _UNKNOWN)
            if status != told:
                told = status
                await call.write(health_pb2.HealthCheckResponse(status=status))
            elif self._is_stopping:
                raise room.stopping()
            else:
                await changed.wait()

    def _wake(self) -> None:
        for changed in self._watches:
            changed.set()
