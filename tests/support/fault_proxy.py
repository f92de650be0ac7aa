"""A small TCP proxy that does to a connection what networks do, when a test tells it to.

    with fault_proxy.before(server.address) as proxy:
        ... connect to proxy.address ...
        proxy.let(to_server=100_000)     # so many bytes more, then nothing passes
        proxy.wait_until_spent()
        proxy.cut()

It passes everything until told otherwise. Nothing in it waits for a length of time but `delay` and
`trickle`: a test says what happens and waits for facts. One thread, which is gone, with every
socket, when the context ends.
"""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from support import fault_connection, live_server
from support.fault_connection import Way

T = TypeVar("T")
_SECONDS = 30.0


class Proxy:
    """The proxy; its methods are for the test's thread, and have happened when they return."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listening: socket.socket | None = _listen(0)
        self._port: int = self._listening.getsockname()[1]
        self._rules = {way: fault_connection.Rule() for way in Way}
        self._changed = asyncio.Condition()
        self._served: dict[fault_connection.Connection, asyncio.Task[None]] = {}
        self._accepted = 0
        self._accepting: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.start()
        self.accept()

    @property
    def address(self) -> str:
        """HOST:PORT to connect to."""
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._served)

    @property
    def accepted(self) -> int:
        """How many connections there were so far."""
        return self._accepted

    def passed_bytes(self, way: Way) -> int:
        """How many bytes went this way so far."""
        return self._rules[way].passed_bytes

    def pass_all(self) -> None:
        """Do nothing to what comes from here on, let pass what waits, take new connections."""

        async def forget() -> None:
            await _ended(self._ticking)
            for rule in self._rules.values():
                rule.left_bytes, rule.delay_seconds = None, 0.0
            await self._tell()

        self._do(forget())
        self.accept()

    def delay(self, seconds: float) -> None:
        """Hold every piece back for so long."""
        for rule in self._rules.values():
            rule.delay_seconds = seconds

    def stall(self) -> None:
        """Let nothing pass, either way; connections stay, and new ones are taken."""
        self.let(to_server=0, to_client=0)

    def let(self, *, to_server: int | None = None, to_client: int | None = None) -> None:
        """Let so many bytes more pass, then none; None leaves a direction as it is."""

        async def change() -> None:
            for way, left_bytes in zip(Way, (to_server, to_client), strict=True):
                if left_bytes is not None:
                    self._rules[way].left_bytes = left_bytes
            await self._tell()

        self._do(change())

    def tick(self, count: int) -> None:
        """Let so many bytes more pass, both ways, of what `stall` or `let` holds back."""
        self._do(self._tick(count))

    def trickle(self, count: int, *, every_seconds: float) -> None:
        """Let so many bytes pass at each tick, until `pass_all`."""

        async def ticking() -> None:
            while True:
                await asyncio.sleep(every_seconds)
                await self._tick(count)

        async def begin() -> None:
            await _ended(self._ticking)
            self._ticking = self._loop.create_task(ticking())

        self.stall()
        self._do(begin())

    def cut(self, *, reset: bool = True) -> int:
        """End every connection, with RST or (reset=False) with FIN; how many there were."""
        return self._do(self._cut(reset=reset))

    def half_close(self, way: Way) -> None:
        """Say FIN in this direction of every connection; the other goes on."""

        async def finish() -> None:
            for connection in self._served:
                connection.finish(way)

        self._do(finish())

    def refuse(self) -> None:
        """Take no new connection: who tries is told so at once."""
        self._do(self._refuse())

    def accept(self) -> None:
        """Take new connections again, at the same address."""

        async def accept() -> None:
            self._listening = self._listening or _listen(self._port)
            if self._accepting is None:
                self._accepting = self._loop.create_task(self._accept_all(self._listening))

        self._do(accept())

    def wait_until_spent(self, way: Way = Way.TO_SERVER) -> None:
        """Wait until all that `let` allowed this way has passed."""
        rule = self._rules[way]
        live_server.wait_for(lambda: rule.left_bytes == 0, f"all that may pass {way} to pass")

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            await _ended(self._ticking)
            await self._refuse()
            await self._cut(reset=True)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _tick(self, count: int) -> None:
        for rule in self._rules.values():
            if rule.left_bytes is not None:
                rule.left_bytes += count
        await self._tell()

    async def _refuse(self) -> None:
        await _ended(self._accepting)
        if self._listening is not None:
            self._listening.close()
        self._listening = self._accepting = None

    async def _cut(self, *, reset: bool) -> int:
        served = dict(self._served)
        for connection, task in served.items():
            await _ended(task)
            connection.close(reset=reset)
        return len(served)

    async def _accept_all(self, listening: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listening)
            connection = fault_connection.Connection(client, self._rules, self._changed)
            task = self._loop.create_task(connection.serve(self._target))
            self._accepted += 1
            self._served[connection] = task
            task.add_done_callback(functools.partial(self._forget, connection))

    def _forget(self, connection: fault_connection.Connection, _: asyncio.Task[None]) -> None:
        del self._served[connection]


@contextlib.contextmanager
def before(target: str) -> Iterator[Proxy]:
    """Run a proxy before HOST:PORT."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _listen(port: int) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    listening.setblocking(False)  # noqa: FBT003 - the standard library's own parameter
    return listening


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
