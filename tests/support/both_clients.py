"""One suite for both clients: the asyncio one behind the synchronous one's surface.

A test asks for a client and calls it like `Client`. Behind it may be an `AsyncClient` on a loop of
its own: coroutines are run to their end, async iterators are stepped.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast

from dshpc.client import AsyncClient, AsyncRunningBatch, Client

KINDS = ("sync", "asyncio")

Connect: TypeAlias = Callable[..., AbstractContextManager[Client]]
"""Connects a client of one kind to a target."""


@contextlib.contextmanager
def connected(kind: str, target: str, **arguments: Any) -> Iterator[Client]:  # noqa: ANN401 - whatever a client takes
    """Give a client of either kind, until the block is left."""
    if kind == "sync":
        with Client(target, **arguments) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        stepped = _Stepped(runner, runner.run(_made(target, arguments)))
        try:
            yield cast("Client", stepped)
        finally:
            stepped.close()


async def _made(target: str, arguments: dict[str, Any]) -> AsyncClient:
    return AsyncClient(target, **arguments)


class _Stepped:
    """An asyncio client, driven by whoever calls."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the client has it
        found = getattr(self._client, name)
        return self._wrapped(found) if callable(found) else found

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the client has it
            answer = method(*arguments, **named)
            if asyncio.iscoroutine(answer):
                return self._runner.run(answer)
            if isinstance(answer, AsyncRunningBatch):
                return _SteppedBatch(self._runner, answer)
            return _stepped(self._runner, answer)

        return called


class _SteppedBatch(Iterator[Any]):
    def __init__(self, runner: asyncio.Runner, batch: AsyncRunningBatch) -> None:
        self._runner = runner
        self._batch = batch

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the batch has it
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - a row
        return _next(self._runner, self._batch)

    def close(self) -> None:
        self._runner.run(self._batch.close())


def _stepped(runner: asyncio.Runner, items: AsyncGenerator[Any, None]) -> Iterator[Any]:
    try:
        while True:
            try:
                item = _next(runner, items)
            except StopIteration:
                return
            yield item
    finally:
        runner.run(_closed(items))


def _next(runner: asyncio.Runner, items: AsyncIterator[Any]) -> Any:  # noqa: ANN401 - an item
    async def step() -> list[Any]:
        async for item in items:
            return [item]
        return []

    found = runner.run(step())
    if not found:
        raise StopIteration
    return found[0]


async def _closed(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
