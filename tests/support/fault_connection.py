"""One connection through `fault_proxy`: two sockets, what passes between them, and how it ends.

For the proxy's loop alone.
"""

import asyncio
import contextlib
import dataclasses
import enum
import socket
import struct

_PIECE_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing throws away what waits and sends RST."""


class Way(enum.StrEnum):
    """A direction of bytes."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


@dataclasses.dataclass(kw_only=True, slots=True)
class Rule:
    """What holds for one direction of all connections."""

    left_bytes: int | None = None
    """How many bytes may still pass; None: all."""
    delay_seconds: float = 0.0
    passed_bytes: int = 0


class Connection:
    """A client's socket and the one to the server."""

    def __init__(
        self, client: socket.socket, rules: dict[Way, Rule], changed: asyncio.Condition
    ) -> None:
        """`changed` is told whenever a rule is another one."""
        self._targets = {Way.TO_SERVER: socket.socket(), Way.TO_CLIENT: client}
        self._sources = {Way.TO_SERVER: client, Way.TO_CLIENT: self._targets[Way.TO_SERVER]}
        for end in self._targets.values():
            end.setblocking(False)  # noqa: FBT003 - the standard library's own parameter
        self._rules = rules
        self._changed = changed
        self._finished: set[Way] = set()

    async def serve(self, target: tuple[str, int]) -> None:
        """Pass bytes until both ends have finished, or one has failed; then so has the other."""
        loop = asyncio.get_running_loop()
        failed = False
        try:
            await loop.sock_connect(self._targets[Way.TO_SERVER], target)
            async with asyncio.TaskGroup() as tasks:
                for way in Way:
                    tasks.create_task(self._pump(way))
        except* OSError:
            failed = True
        self.close(reset=failed)

    def finish(self, way: Way) -> None:
        """Say FIN in this direction; what comes for it later is thrown away."""
        if way not in self._finished:
            self._finished.add(way)
            with contextlib.suppress(OSError):  # it is gone already
                self._targets[way].shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool) -> None:
        """Close both sockets; idempotent."""
        for end in self._targets.values():
            if reset:
                with contextlib.suppress(OSError):  # closed before
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()

    async def _pump(self, way: Way) -> None:
        loop = asyncio.get_running_loop()
        rule = self._rules[way]
        while piece := await loop.sock_recv(self._sources[way], _PIECE_BYTES):
            if rule.delay_seconds:
                await asyncio.sleep(rule.delay_seconds)
            while piece and way not in self._finished:
                allowed = await self._allowed(rule, len(piece))
                rule.passed_bytes += allowed  # before: whoever receives them may look
                await loop.sock_sendall(self._targets[way], piece[:allowed])
                piece = piece[allowed:]
        self.finish(way)

    async def _allowed(self, rule: Rule, wanted: int) -> int:
        async with self._changed:
            await self._changed.wait_for(lambda: rule.left_bytes != 0)
        if rule.left_bytes is None:
            return wanted
        allowed = min(wanted, rule.left_bytes)
        rule.left_bytes -= allowed
        return allowed
