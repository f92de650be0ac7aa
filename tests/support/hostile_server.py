"""A whole server on the test's own loop, so that a test can look at what calls leave in it."""

import asyncio
import contextlib
import dataclasses
import gc
import os
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeVar

import grpc

from dshpc_server import app, config
from dshpc_server.batches import watchers
from dshpc_server.transport import edge, health
from support import live_server

T = TypeVar("T")
SECONDS = 30.0
CHANNEL_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
"""A connection of its own for every channel."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leavings:
    """What calls may leave in a server."""

    calls: dict[str, int]
    health_watches: int
    watches: int
    tasks: int
    descriptors: int
    """But for those of the store, whose few connections are made when they are needed, and kept."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    """A server that runs, seen from inside."""

    address: str
    data_dir: pathlib.Path
    edge: edge.Edge
    health: health.HealthServicer
    watchers: watchers.Watchers

    def leavings(self) -> Leavings:
        """Count what is there now."""
        gc.collect()
        return Leavings(
            calls=self.edge.open_calls,
            health_watches=self.health.watches,
            watches=self.watchers.watched_jobs,
            tasks=len(asyncio.all_tasks()),
            descriptors=sum(not self._is_of_store(path) for path in _descriptors()),
        )

    def _is_of_store(self, path: str) -> bool:
        return path.startswith(str(self.data_dir / "dshpc.sqlite"))

    def channel(self, *options: tuple[str, int]) -> grpc.aio.Channel:
        """Return a channel on a connection of its own."""
        return grpc.aio.insecure_channel(self.address, options=[*CHANNEL_OPTIONS, *options])


@contextlib.asynccontextmanager
async def inside(settings: config.Settings) -> AsyncIterator[Inside]:
    """Run a server on this loop; afterwards nothing of it is left."""
    earlier = [*_all(edge.Edge), *_all(health.HealthServicer), *_all(watchers.Watchers)]
    try:
        async with app.running(settings) as served:
            yield Inside(
                address=served.address,
                data_dir=settings.data_dir,
                edge=_new(edge.Edge, earlier),
                health=_new(health.HealthServicer, earlier),
                watchers=_new(watchers.Watchers, earlier),
            )
    finally:
        await asyncio.to_thread(live_server.wait_until_gone, settings.data_dir)


def _descriptors() -> Iterator[str]:
    """Yield what each descriptor of this process leads to."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names alone
        with contextlib.suppress(FileNotFoundError):  # that of the listing
            yield os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - as it is


def _all(kind: type[T]) -> list[T]:
    """Return every object of a kind: what a failed test holds may not be gone yet."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


def _new(kind: type[T], earlier: Sequence[object]) -> T:
    (found,) = (each for each in _all(kind) if not any(each is old for old in earlier))
    return found


async def until(fact: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait for a fact that nobody announces; `what` says how it stands when it does not come."""
    try:
        async with asyncio.timeout(SECONDS):
            while not fact():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain; now: {what()}") from None
