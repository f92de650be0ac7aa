"""Keeping what came of uploads that were cut off, but not for ever."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable

import structlog

from dshpc_server import clock, errors
from dshpc_server.files import content

INTERVAL_SECONDS = 600.0
"""Between two looks, unless less than that is kept."""
_MIN_INTERVAL_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Expiry:
    """Removes what was not written to for so long, in the task that calls `run`."""

    def __init__(
        self,
        content: content.ContentStore,
        *,
        expiry_seconds: float,
        clock: clock.Clock,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._content = content
        self._expiry_seconds = expiry_seconds
        self._clock = clock
        self._pause = pause

    async def run(self) -> None:
        """Look at once and then again and again, until cancelled."""
        interval_seconds = max(_MIN_INTERVAL_SECONDS, min(INTERVAL_SECONDS, self._expiry_seconds))
        while True:
            await self._look()
            await self._pause(interval_seconds)

    async def _look(self) -> None:
        before = self._clock.now() - datetime.timedelta(seconds=self._expiry_seconds)
        try:
            expired = await asyncio.to_thread(self._content.expire, before)
        except (OSError, errors.NoAnswerError) as error:
            # What is left is tried again at the next look.
            _log.warning("uploads.not_expired", reason=str(error))
            return
        if expired:
            _log.info("uploads.expired", files=len(expired))
