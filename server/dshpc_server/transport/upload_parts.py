"""The messages of one upload, as they come in.

Promise: a client that sends nothing, or next to nothing, ends its call; while the server is busy
with what came, nobody waits for the client.
"""

import asyncio
from collections.abc import AsyncIterator

from dshpc.v1 import file_service_pb2
from dshpc_server import clock, errors
from dshpc_server.domain.rejection import Violation

LEAST_BYTES = 64 * 1024
"""What has to come while a client is waited for as long as it may send nothing: 1 kB/s."""


class StalledUploaderError(errors.LimitExceededError):
    """The client has sent nothing, or too little, for too long."""

    def __init__(self, stall_seconds: float, came_bytes: int) -> None:
        super().__init__(
            "upload_stall_seconds", maximum=int(stall_seconds), actual=int(stall_seconds)
        )
        self._stall_seconds = stall_seconds
        self._came_bytes = came_bytes

    def __str__(self) -> str:
        amount = f"only {self._came_bytes} bytes" if self._came_bytes else "nothing"
        return f"the client has sent {amount} for {self._stall_seconds:g} s"


class Parts:
    """The messages of one upload; a client that is waited for too long ends its call.

    While the server is busy with what came, nobody waits for the client.
    """

    def __init__(
        self,
        parts: AsyncIterator[file_service_pb2.UploadFileRequest],
        stall_seconds: float,
        clock: clock.Clock,
    ) -> None:
        self._parts = parts
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._left_seconds = stall_seconds
        """How long the client may be waited for until `LEAST_BYTES` have come."""
        self._came_bytes = 0

    async def header(self) -> file_service_pb2.UploadHeader:
        """The first message; anything else is refused."""
        first = await self._next()
        if first is None or first.WhichOneof("part") != "header":
            raise invalid("header", "the first message must be the header")
        return first.header

    async def chunk(self) -> bytes | None:
        """The bytes of the next message; None at the end."""
        part = await self._next()
        if part is None:
            return None
        if part.WhichOneof("part") != "chunk":
            raise invalid("chunk", "after the header only chunks may follow")
        chunk = part.chunk
        self._came_bytes += len(chunk)
        if self._came_bytes >= LEAST_BYTES:
            self._left_seconds, self._came_bytes = self._stall_seconds, 0
        return chunk

    async def _next(self) -> file_service_pb2.UploadFileRequest | None:
        if self._left_seconds <= 0:
            raise StalledUploaderError(self._stall_seconds, self._came_bytes)
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._left_seconds):
                return await anext(self._parts, None)
        except TimeoutError as error:
            raise StalledUploaderError(self._stall_seconds, self._came_bytes) from error
        finally:
            self._left_seconds -= self._clock.monotonic() - asked_at


def invalid(field: str, description: str) -> errors.InvalidRequestError:
    """What is wrong with one field."""
    return errors.InvalidRequestError(Violation(field=field, description=description))
