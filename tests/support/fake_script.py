"""What a fake server is told to do wrong, call by call, and what it was asked.

Keys are names of RPCs, e.g. `GetJob`. Each call takes the first entry of its list; once the list is
empty, calls go well.
"""

import collections
import threading
from typing import NoReturn, TypeAlias, TypeVar

import grpc

T = TypeVar("T")
Trouble: TypeAlias = grpc.StatusCode | tuple[grpc.StatusCode, str] | None


class Script:
    """The part of a fake server that refuses and cuts off calls."""

    def __init__(self) -> None:
        self.failure: tuple[grpc.StatusCode, str, bytes] | None = None
        """Code, message and packed details with which every call is refused."""
        self.refusals: dict[str, list[Trouble]] = {}
        """How the next calls of an RPC are refused; None: that one is not."""
        self.cuts: dict[str, list[int | None]] = {}
        """After how many messages (chunks, for an upload) the next calls of an RPC are cut off."""
        self.cut_code = grpc.StatusCode.UNAVAILABLE
        """How they are; OK: a log ends as if all were well."""
        self.asked: collections.Counter[str] = collections.Counter()
        """Calls that came, by RPC."""
        self.seconds_left: dict[str, float] = {}
        """Until its deadline, of the last call of an RPC that had one."""
        self.release = threading.Event()
        """Lets go what the script holds."""
        self._open_calls = 0
        self._changed = threading.Condition()

    def enter(self, rpc: str, context: grpc.ServicerContext) -> None:
        """Count a call, and refuse it if that is what the script says."""
        with self._changed:
            self.asked[rpc] += 1
            self._open_calls += 1
            if (left := context.time_remaining()) is not None:
                self.seconds_left[rpc] = left
            self._changed.notify_all()
        if not context.add_callback(self._left):
            self._left()
        if self.failure is not None:
            code, message, details = self.failure
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
            abort(context, code, message)
        trouble = _next(self.refusals, rpc)
        if isinstance(trouble, tuple):
            abort(context, *trouble)
        if trouble is not None:
            abort(context, trouble, "it is so")

    def next_cut(self, rpc: str) -> int | None:
        """Messages after which the call that has just come is cut off."""
        return _next(self.cuts, rpc)

    def cut(self, context: grpc.ServicerContext) -> NoReturn:
        """Cut a call off."""
        abort(context, self.cut_code, "the server goes away")

    def wait_for_call(self, rpc: str, timeout_seconds: float) -> bool:
        """Wait until a call of an RPC has come; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: self.asked[rpc] > 0, timeout_seconds)

    def all_calls_ended(self, timeout_seconds: float) -> bool:
        """Wait until no call is open; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open_calls == 0, timeout_seconds)

    def _left(self) -> None:
        with self._changed:
            self._open_calls -= 1
            self._changed.notify_all()


def abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    """End a call with an error."""
    context.abort(code, message)
    raise AssertionError("abort raises")


def _next(lists: dict[str, list[T]], rpc: str) -> T | None:
    waiting = lists.get(rpc)
    return waiting.pop(0) if waiting else None
