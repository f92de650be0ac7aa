"""Calls that are lost: a batch that was to go with its caller is withdrawn, unless somebody comes.

Promises: from the loss of its call on a batch has `grace_seconds`; whoever follows it meanwhile, or
followed it already, keeps it for good. A call that ends because the server stops is not lost. What
is waited for here is forgotten when the server ends: then nothing is withdrawn. For the event
loop's thread alone.
"""

import asyncio
import collections
import contextlib
import types
from collections.abc import Iterator
from typing import Protocol, Self

import structlog

from dshpc_server import errors
from dshpc_server.batches import showing, withdrawing
from dshpc_server.store import records

REASON = "the client has gone away"
RETRY_SECONDS = 1.0
"""Pause after the store was not available."""

_log = structlog.get_logger(__name__)


class Withdraws(Protocol):
    """What has batches withdrawn (`withdrawing.Withdrawing`)."""

    async def withdraw(
        self, batch_id: str, reason: str, cause: withdrawing.Cause
    ) -> records.Withdrawn:
        """Withdraw all rows of a batch."""
        ...


class Disconnects:
    """Knows who follows which batch. An async context manager that owns its tasks."""

    def __init__(
        self, *, withdrawing: Withdraws, showing: showing.Showing, grace_seconds: float
    ) -> None:
        self._withdrawing = withdrawing
        self._showing = showing
        self._grace_seconds = grace_seconds
        self._followers: collections.Counter[str] = collections.Counter()
        self._graces: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()
        graces = list(self._graces.values())
        for grace in graces:
            grace.cancel()
        await asyncio.gather(*graces, return_exceptions=True)

    def stop(self) -> None:
        """The server stops: calls that end from now on are ended by it."""
        self._is_stopping = True

    @contextlib.contextmanager
    def calling(self, batch_id: str, *, cancels: bool) -> Iterator[None]:
        """Follow a batch in the call that asked for it.

        When that `cancels` and the context is left because the call was lost, the grace begins.
        """
        try:
            with self.following(batch_id):
                yield
        except (asyncio.CancelledError, GeneratorExit):
            if cancels:
                self._lost(batch_id)
            raise

    @contextlib.contextmanager
    def following(self, batch_id: str) -> Iterator[None]:
        """Follow a batch: whoever does keeps it."""
        self._followers[batch_id] += 1
        grace = self._graces.pop(batch_id, None)
        if grace is not None:
            grace.cancel()
        try:
            yield
        finally:
            self._followers[batch_id] -= 1
            if not self._followers[batch_id]:
                del self._followers[batch_id]

    def _lost(self, batch_id: str) -> None:
        if self._is_stopping or self._followers[batch_id] or batch_id in self._graces:
            return
        _log.info("batch.call_lost", batch_id=batch_id, grace_seconds=self._grace_seconds)
        grace = asyncio.create_task(self._withdraw_after_grace(batch_id))
        self._graces[batch_id] = grace
        grace.add_done_callback(lambda _: self._forget(batch_id, grace))

    def _forget(self, batch_id: str, grace: asyncio.Task[None]) -> None:
        if self._graces.get(batch_id) is grace:
            del self._graces[batch_id]

    async def _withdraw_after_grace(self, batch_id: str) -> None:
        await asyncio.sleep(self._grace_seconds)
        while True:
            try:
                await self._showing.answer(batch_id, lambda: self._withdraw(batch_id))
            except errors.UnavailableError:  # the store tells the log itself
                await asyncio.sleep(RETRY_SECONDS)
            except errors.NotFoundError:  # the call was lost before it was accepted
                return
            else:
                return

    async def _withdraw(self, batch_id: str) -> None:
        await self._withdrawing.withdraw(batch_id, REASON, withdrawing.Cause.DISCONNECTED)
