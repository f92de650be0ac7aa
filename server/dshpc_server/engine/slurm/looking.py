"""The one bulk look at everything, again and again: Slurm's answers and the wrappers' records.

Each look asks Slurm once for all that is queued or runs, then looks at what the wrappers have left.
Only if something is accounted for by neither, Slurm is asked for what has ended, too. What follows
from it is `concluding`'s. Records are looked for more often than Slurm is asked, and go on being
looked for while its controller does not answer.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NoReturn

import structlog

from dshpc_server import clock
from dshpc_server.engine import delivery, port
from dshpc_server.engine.slurm import (
    cluster,
    concluding,
    finding,
    standing,
    states,
    submitting,
    watching,
)
from dshpc_server.engine.slurm.concluding import Table
from dshpc_server.engine.slurm.watching import Watched, WatchedArray

_RESTS = 9
"""We keep Slurm's controller busy for a tenth of the time at most."""
_READ_AT_ONCE = 500
"""So many ends are read before they are told: a part of a second on a network's file system."""
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often to look. Seconds."""

    first_seconds: float = 1.0
    """Between two questions to Slurm while something changes."""
    last_seconds: float = 30.0
    """The same when nothing has changed for long."""
    records_seconds: float = 0.5
    """Between two looks at records."""

    def rest_seconds(self, answer_seconds: float) -> float:
        """How long to leave Slurm alone that took so long to answer: it has others to serve."""
        return min(_RESTS * answer_seconds, self.last_seconds)


class Looking:
    """Looks for all that is watched. For the event loop's thread alone."""

    def __init__(
        self,
        *,
        cluster: cluster.Cluster,
        watching: watching.Watching,
        standing: standing.Standing,
        delivery: delivery.Delivery[Watched],
        submitting: submitting.Submitting,
        concluding: concluding.Concluding,
        pace: Pace,
        clock: clock.Clock,
    ) -> None:
        self._cluster = cluster
        self._watching = watching
        self._standing = standing
        self._delivery = delivery
        self._submitting = submitting
        self._concluding = concluding
        self._pace = pace
        self._clock = clock
        self._awake = asyncio.Event()
        self._interval_seconds = pace.first_seconds
        self._ask_at = 0.0
        self._before: frozenset[tuple[str, int, str]] = frozenset()

    def wake(self) -> None:
        """Ask Slurm at once: something was submitted, or is to be accounted for."""
        self._ask_at = 0.0
        self._interval_seconds = self._pace.first_seconds
        self._awake.set()

    def hurry(self) -> None:
        """Ask Slurm within a moment: something is about to change there."""
        self._interval_seconds = self._pace.first_seconds
        self._ask_at = min(self._ask_at, self._clock.monotonic() + self._pace.first_seconds)
        self._awake.set()

    async def run(self) -> NoReturn:
        """Serve until cancelled."""
        while True:
            self._awake.clear()
            try:
                await self._look()
            except OSError as error:  # a disk that does not answer says nothing
                _log.warning("engine.no_look", error=str(error))
            await self._pause()

    async def _pause(self) -> None:
        """Wait until it is time for the next look."""
        seconds = max(0.0, self._ask_at - self._clock.monotonic())
        if len(self._watching):
            seconds = min(seconds, self._pace.records_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    async def _look(self) -> None:
        table = await self._ask() if self._clock.monotonic() >= self._ask_at else None
        await self._look_at_records(table)
        if table is not None:
            await self._look_for_the_rest(table)
        nowhere = list(self._watching.nowhere)
        if nowhere:
            for each in await asyncio.to_thread(finding.each, nowhere):
                await self._concluding.nowhere(each)

    async def _ask(self) -> Table | None:
        """Ask Slurm for all that is queued or runs; None when it does not answer."""
        # Who wakes us from here on is asked for anew.
        asked_at = self._clock.monotonic()
        self._ask_at = asked_at + self._interval_seconds
        try:
            await self._standing.refresh(is_doubted=self._is_forgotten())
            told = await self._cluster.tasks(ended=False)
        except cluster.UnreachableError as error:
            self._fail(error)
            return None
        self._standing.answers()
        answered_at = self._clock.monotonic()
        if self._ask_at:  # nobody has woken us meanwhile
            rest = self._pace.rest_seconds(answered_at - asked_at)
            self._ask_at = max(self._ask_at, answered_at + rest)
        table = {(task.name, task.index): task for task in told}
        present = frozenset((name, index, task.state) for (name, index), task in table.items())
        if present == self._before and not self._is_forgotten():
            self._interval_seconds = min(2 * self._interval_seconds, self._pace.last_seconds)
        else:
            self._interval_seconds = self._pace.first_seconds
        self._before = present
        self._note(table)
        return table

    def _fail(self, error: cluster.UnreachableError) -> None:
        self._standing.fails(error)
        self._ask_at = self._clock.monotonic() + self._pace.first_seconds

    def _is_forgotten(self) -> bool:
        """Whether something is gone: the controller may have been restarted."""
        return any(watched.gone_since is not None for _, watched in self._watching.placed())

    def _note(self, table: Table) -> None:
        """Take note of what Slurm tells of what waits, runs, or is suspended."""
        for array, watched in self._watching.placed():
            task = table.get((array.folder.name, watched.place.index)) if watched.place else None
            if task is None:
                continue
            watched.gone_since = None
            watched.waits_for = task.reason
            is_suspended = task.state in states.SUSPENDED
            if watched.has_started and is_suspended is not watched.is_suspended:
                watched.is_suspended = is_suspended
                fact = port.Suspended if is_suspended else port.Resumed
                self._delivery.tell(watched, fact(key=watched.key, at=self._clock.now()))

    async def _look_at_records(self, table: Table | None) -> None:
        """Take in what wrappers have marked, and the starts of what Slurm runs."""
        arrays = list(self._watching.arrays)
        if not arrays:
            return
        ended = await asyncio.to_thread(finding.ended, arrays)
        # What was read is told while the next is read: somebody may be waiting for each of them.
        for first in range(0, len(ended), _READ_AT_ONCE):
            part = ended[first : first + _READ_AT_ONCE]
            found = await asyncio.to_thread(finding.each, part)
            unexplained = [each for each in found if self._concluding.is_to_say_first(each)]
            if unexplained:
                await self._ask_whether_restarted()
            self._conclude(found)
        running = list(self._running(table)) if table is not None else []
        self._conclude(await asyncio.to_thread(finding.begun, arrays, running))

    async def _ask_whether_restarted(self) -> None:
        """Have the controller say when it was started; who waits for that is looked at again."""
        try:
            await self._standing.refresh(is_doubted=True)
        except cluster.UnreachableError as error:
            self._fail(error)

    def _conclude(self, found: Sequence[finding.Found]) -> None:
        for each in found:
            if not self._concluding.from_records(each) and each.exit is not None:
                # Slurm is to say why; it does as soon as the task is over.
                moment = self._clock.monotonic() + self._pace.first_seconds
                self._ask_at = min(self._ask_at, moment)

    def _running(self, table: Table) -> Iterator[Watched]:
        """Yield of each task that runs the first attempt whose start was not told."""
        for array in self._watching.arrays:
            for index, task in array.tasks().items():
                told = table.get((array.folder.name, index))
                if told is not None and told.state in states.RUNNING:
                    yield from finding.next_of(task)

    async def _look_for_the_rest(self, table: Table) -> None:
        """Account for what Slurm does not have in its queue, and nobody has marked as ended."""
        missing = [
            (array, watched)
            for array, watched in self._watching.placed()
            if not array.is_being_sent
            and watched.place is not None
            and (array.folder.name, watched.place.index) not in table
        ]
        await self._adopt(table)
        if not missing:
            return
        try:
            told = await self._cluster.tasks(ended=True)
        except cluster.UnreachableError as error:
            self._fail(error)
            return
        whole = {(task.name, task.index): task for task in told}
        known = {task.name for task in told}
        await self._ask_accounting(missing, whole)
        await self._adopt(whole)
        for each in await asyncio.to_thread(finding.missing, missing):
            await self._concluding.missing(each, whole, known)

    async def _ask_accounting(
        self,
        missing: Sequence[tuple[WatchedArray, Watched]],
        table: dict[tuple[str, int], cluster.Task],
    ) -> None:
        """Add what accounting knows of what the controller has forgotten."""
        names = {
            array.folder.name
            for array, watched in missing
            if watched.place and (array.folder.name, watched.place.index) not in table
        }
        if not names or not self._standing.has_accounting:
            return
        try:
            told = await self._cluster.accounted(names)
        except cluster.UnreachableError as error:  # it is of use, not needed
            _log.warning("engine.no_accounting", error=error.reason)
            return
        for task in told:
            if task.state in states.ENDED:
                table.setdefault((task.name, task.index), task)

    async def _adopt(self, table: Table) -> None:
        """Find the ids of arrays of which nobody knew whether they were accepted."""
        unknown = {
            array.folder.name: array
            for array in self._watching.arrays
            if array.job_id is None and not array.is_being_sent
        }
        for (name, _), task in table.items():
            if name in unknown and task.reason != states.REFUSED_REASON:
                await self._submitting.accepted(unknown.pop(name), task.job_id.partition("_")[0])
