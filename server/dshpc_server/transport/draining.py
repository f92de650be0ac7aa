"""Which calls end when the server stops: at once those that may last, the others after a grace.

May last: the contract's streams and uploads, and a unary call that was asked to wait for something
that happens to jobs. Promise: once the server stops none of these begins any more.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import message

from dshpc.v1 import types_pb2
from dshpc_server.transport import room


class Draining:
    """The calls that may last, and those that were ended because the server stops."""

    def __init__(self) -> None:
        self._lasting: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()
        self._is_stopping = False

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        """What this task does in the context ends as soon as the server stops."""
        if self._is_stopping:
            raise room.stopping()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler always runs in a task
        self._lasting.add(task)
        try:
            yield
        finally:
            self._lasting.discard(task)

    def stop(self) -> None:
        """End all that lasts, and let none begin; once is enough."""
        if not self._is_stopping:
            self._is_stopping = True
            self.end(self._lasting)

    def end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """End these calls."""
        for task in list(tasks):
            self._ended.add(task)
            task.cancel()

    def has_ended(self, task: asyncio.Task[Any]) -> bool:
        """Whether a call was ended here."""
        return task in self._ended

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Its call is over."""
        self._ended.discard(task)


def waits(asked: message.Message) -> bool:
    """Whether a unary call was asked to wait.

    Such requests have a field `wait`: a time, or a policy that says until when.
    """
    if "wait" not in asked.DESCRIPTOR.fields_by_name or not asked.HasField("wait"):
        return False
    wait = asked.wait  # type: ignore[attr-defined]  # it has one, see above
    return getattr(wait, "until", types_pb2.UNTIL_FINISHED) == types_pb2.UNTIL_FINISHED
