"""Staying until work has ended, also when whoever waits for it is cancelled meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(act: Callable[[], T]) -> T:
    """Act in a thread, and stay until it has ended.

    What the thread uses is closed afterwards; a descriptor that is closed under a write may be
    another file's by the time of the write.
    """
    return await until_done(asyncio.to_thread(act))


async def until_done(work: Coroutine[Any, Any, T]) -> T:
    """Do work that is not to be left half done; a cancel takes effect at its end."""
    doing = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not doing.cancelled():
            doing.exception()  # looked at: nobody is left to be told
        raise cancelled
    return doing.result()
