"""Server reflection, v1alpha and v1, on the edge like every other service.

Both versions have the same messages; grpcio-reflection has v1alpha only (grpc issue 38576).
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from google.protobuf import descriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from dshpc_server.transport import edge

_SERVICES = reflection_pb2.DESCRIPTOR.services_by_name
_SERVICES = reflection_pb2.DESCRIPTOR.services_by_name
SERVICE: descriptor.ServiceDescriptor = _SERVICES["ServerReflection"]  # type: ignore[assignment]  # upb's
NAMES = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
"""What it is served as."""


class ReflectionServicer:
    """Serves grpc.reflection.*.ServerReflection."""

    def __init__(self, service_names: Sequence[str]) -> None:
        self._answering = reflection.aio.ReflectionServicer(service_names=service_names)

    async def server_reflection_info(
        self,
        asked: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        call: edge.Call,
    ) -> None:
        """Answer each question in order."""
        answers: AsyncGenerator[reflection_pb2.ServerReflectionResponse, None] = (
            self._answering.ServerReflectionInfo(asked, None)  # type: ignore[assignment]  # so it is
        )
        async with contextlib.aclosing(answers):
            async for answer in answers:
                await call.write(answer)
