"""Facts on their way to whoever `Engine.run` reports to.

Promises: reports are made one at a time, in the order the facts were told; nothing is told of an
attempt that is not watched any more; an end is given to `on_end` after it was reported, and only if
the attempt is still the one that was watched then.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NoReturn, TypeVar

from dshpc_server.engine import port

W = TypeVar("W")
_GOES_ON = (port.Started, port.Suspended, port.Resumed)


class Delivery(Generic[W]):
    """The facts of attempts that are watched as W. For the event loop's thread alone."""

    def __init__(self, *, is_current: Callable[[W], bool], on_end: Callable[[W], None]) -> None:
        """`is_current` says whether an attempt is still watched as this very W."""
        self._is_current = is_current
        self._on_end = on_end
        self._facts: list[tuple[W, port.Fact]] = []
        self._has_facts = asyncio.Event()

    @property
    def waiting(self) -> Sequence[tuple[W, port.Fact]]:
        """What was told and not reported yet."""
        return tuple(self._facts)

    def tell(self, watched: W, fact: port.Fact) -> None:
        """Report this when its turn comes."""
        self._facts.append((watched, fact))
        self._has_facts.set()

    async def run(self, report: port.Report) -> NoReturn:
        """Report until cancelled."""
        while True:
            await self._has_facts.wait()
            count = len(self._facts)
            told = [(one, fact) for one, fact in self._facts if self._is_current(one)]
            if told:
                await report([fact for _, fact in told])
            del self._facts[:count]
            for one, fact in told:
                # One that was forgotten and taken up again meanwhile is told its end again.
                if not isinstance(fact, _GOES_ON) and self._is_current(one):
                    self._on_end(one)
            if not self._facts:
                self._has_facts.clear()
