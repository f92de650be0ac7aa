"""Runs an engine and keeps what it tells, so that a test can wait for a fact."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port

DEADLINE_SECONDS = 30.0

End = port.Exited | port.NotStarted | port.Lost


class Told:
    """Every fact in the order it came."""

    def __init__(self) -> None:
        self.facts: list[port.Fact] = []
        self._news = asyncio.Condition()

    async def report(self, facts: Sequence[port.Fact]) -> None:
        """What is handed to `Engine.run`."""
        async with self._news:
            self.facts += facts
            self._news.notify_all()

    def of(self, key: AttemptKey) -> list[port.Fact]:
        return [fact for fact in self.facts if fact.key == key]

    def starts(self, key: AttemptKey) -> list[port.Started]:
        return [fact for fact in self.of(key) if isinstance(fact, port.Started)]

    def ends(self, key: AttemptKey) -> list[End]:
        return [fact for fact in self.of(key) if isinstance(fact, End)]

    async def start_of(self, key: AttemptKey) -> port.Started:
        await self._until(lambda: bool(self.starts(key)))
        return self.starts(key)[0]

    async def end_of(self, key: AttemptKey) -> End:
        await self._until(lambda: bool(self.ends(key)))
        return self.ends(key)[0]

    async def exit_of(self, key: AttemptKey) -> port.Exited:
        end = await self.end_of(key)
        assert isinstance(end, port.Exited), end
        return end

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(is_so)


@contextlib.asynccontextmanager
async def running(engine: port.Engine) -> AsyncIterator[Told]:
    """Run the engine for the length of the block."""
    told = Told()
    task = asyncio.create_task(engine.run(told.report))
    try:
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait, with a deadline, for something that nobody announces."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
