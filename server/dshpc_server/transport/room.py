"""Places for calls: how many of one class may be open at one time.

Promises: a call over the limit is refused at once, before its request is read; a place is given
back however its call ends; once closed, nobody gets in.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from dshpc_server import errors

STOPPING_RETRY_SECONDS = 1.0
"""Advice for a client whose call comes, or is ended, because the server stops. That takes a moment,
or less than two seconds when somebody holds it up, and the next server is there soon after."""


def stopping() -> errors.UnavailableError:
    """Return what is told to who comes when the server stops."""
    return errors.UnavailableError(
        "the server is stopping", retry_after_seconds=STOPPING_RETRY_SECONDS
    )


class Room:
    """The open calls of one class."""

    def __init__(self, limit: str, maximum: int) -> None:
        self._limit = limit
        self._maximum = maximum
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    @property
    def tasks(self) -> Collection[asyncio.Task[Any]]:
        """Those who have a place now."""
        return self._tasks

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self._is_closed = True

    @contextlib.contextmanager
    def place(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """Take a place for as long as the context lasts; raises when there is none."""
        if self._is_closed:
            raise stopping()
        if len(self._tasks) >= self._maximum:
            raise errors.LimitExceededError(
                self._limit, maximum=self._maximum, actual=len(self._tasks) + 1
            )
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
