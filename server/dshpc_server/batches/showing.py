"""Asking about a batch that was just accepted: while its rows are looked up, who asks waits.

A large batch is named to its caller as soon as it is durable, and shown when all its rows are
looked up, seconds later. Promise: whoever names it meanwhile, at any server, is answered as soon
as it is shown, and never that there is no such batch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dshpc_server import errors
from dshpc_server.store import committer

SHOWN_SECONDS = 45.0
"""How long who asks waits. Two busy cores look up the rows of the largest batch in half of that;
clients give a call a minute."""
SHOWN_POLL_SECONDS = 0.1
"""It may be another server that accepts it, which tells nobody."""

A = TypeVar("A")


class Showing:
    """Has those who ask about a batch wait until it is shown."""

    def __init__(self, committer: committer.Committer) -> None:
        self._committer = committer

    async def answer(self, batch_id: str, ask: Callable[[], Awaitable[A]]) -> A:
        """Answer what is asked about a batch.

        `ask` raises NotFoundError where the batch is not shown, and has done nothing then: once it
        is shown it is called again. Raises NotFoundError for an unknown batch, and UnavailableError
        for one that is not shown in time.
        """
        try:
            return await ask()
        except errors.NotFoundError:
            await self.until_shown(batch_id)
        return await ask()

    async def until_shown(self, batch_id: str) -> None:
        """Wait while rows of a batch are still to be looked up. Raises UnavailableError."""
        try:
            async with asyncio.timeout(SHOWN_SECONDS):
                while await self._committer.read(lambda store: store.has_staged_rows(batch_id)):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(SHOWN_POLL_SECONDS)
        except TimeoutError as error:
            raise errors.UnavailableError(
                f"batch '{batch_id}' is accepted, and its rows are still being looked up",
                retry_after_seconds=1.0,
            ) from error
