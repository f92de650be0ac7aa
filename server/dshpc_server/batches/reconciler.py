"""The reconciler: takes an engine's facts in and publishes what they mean.

Promises: an output is whole, in the content store or in the row, at the one commit that says
COMPLETED: what was deleted since it was taken in is taken in again. A fact about an attempt that
has ended, or that another server has by now, changes nothing. A result that the store or the disk
does not take is offered again until it does - hours of work are not dropped for a full disk - and
an output that cannot be had now holds no other result up.
"""

import asyncio
import contextlib
import pathlib
import types
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Self, TypeGuard, TypeVar

import structlog

from dshpc_server import clock, crashing, errors, outage
from dshpc_server.batches import active, content, endings, intake, reports, run_times, scratch
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine import port as engine
from dshpc_server.store import committer, port, records

RETRY_SECONDS = 1.0
"""Pause before a result that could not be stored is offered again."""

STARTED_DELAY_SECONDS = 0.02
"""How long a start may wait for company: the end of a short job then shares its commit."""

LONG_OUTPUTS = 4
"""How many long outputs are taken in at one time. It may be seconds for each, or for ever on a disk
that hangs; the other threads are left to those who ask for other things."""

T = TypeVar("T")
Make = Callable[[Sequence[reports.News]], Awaitable[Sequence[records.Report]]]
_log = structlog.get_logger(__name__)


class Reconciler:
    """Turns facts into reports to the store. An async context manager that owns its tasks."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        library: content.Library,
        active: active.ActiveAttempts,
        intake: intake.Intake,
        reports: reports.Reports,
        run_times: run_times.RunTimes,
        folder: Callable[[AttemptKey], pathlib.Path],
        on_room: Callable[[], None],
        on_dropped: Callable[[Collection[str]], None],
        clock: clock.Clock,
    ) -> None:
        """`on_room` is told when processes have ended, before their ends are recorded.

        `on_dropped` is told of jobs whose end the store did not take: it has another one.
        """
        self._folder = folder
        self._reports = reports
        self._run_times = run_times
        self._on_room = on_room
        self._on_dropped = on_dropped
        self._committer = committer
        self._library = library
        self._active = active
        self._intake = intake
        self._waits = outage.Outage(clock, begins="result.waits", ends="result.recorded")
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scratch = scratch.Scratch()
        self._long_outputs = asyncio.Semaphore(LONG_OUTPUTS)
        self._waiting: list[engine.Fact] = []
        self._has_waiting = asyncio.Event()
        self._has_ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._own(self._drain())
        self._own(self._scratch.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        # What is not taken in yet has its exit on record: whoever serves next is told it again.
        self._intake.stop()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def take(self, facts: Sequence[engine.Fact]) -> None:
        """Take facts, in order per attempt; they are recorded soon, many at once.

        Returning early loses nothing: what an engine told is on its record until the attempt has
        ended in the store, and a fact that comes twice changes nothing.
        """
        crashing.point("fact.taken")
        self._release(facts)
        self._waiting += facts
        self._has_waiting.set()
        if any(isinstance(fact, endings.End) for fact in facts):
            self._has_ended.set()

    async def _drain(self) -> None:
        """Record what waits, all of it at once, again and again."""
        while True:
            await self._has_waiting.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STARTED_DELAY_SECONDS):
                    await self._has_ended.wait()
            self._has_waiting.clear()
            self._has_ended.clear()
            facts, self._waiting = self._waiting, []
            known = []
            for fact in facts:
                claim = self._active.get(fact.key)
                if claim is None:
                    _log.info("fact.late", job_id=fact.key.job_id, attempt=fact.key.number)
                elif self._is_long(fact):
                    self._own(self._take_long(fact, claim))
                else:
                    known.append(self._news(fact, claim))
            if known and (waiting := await self._record_all(known, self._made)):
                self._own(self._record_in_turn(waiting))

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _release(self, facts: Sequence[engine.Fact]) -> None:
        """Free the room of what has ended at once, so that ends and claims share a commit."""
        ended = [fact.key for fact in facts if isinstance(fact, endings.End)]
        for key in ended:
            self._active.release(key)
        if ended:
            self._on_room()

    def _is_long(self, fact: engine.Fact) -> TypeGuard[engine.Exited]:
        return (
            isinstance(fact, engine.Exited)
            and endings.event(fact) is Event.SUCCEEDED
            and self._intake.is_long(fact.stdout)
        )

    def _news(self, fact: engine.Fact, claim: records.Claim) -> reports.News:
        return reports.News(
            fact=fact, claim=claim, cancel_reason=self._active.cancel_reason(fact.key)
        )

    async def _take_long(self, fact: engine.Exited, claim: records.Claim) -> None:
        completing = records.Report(
            key=fact.key,
            event=Event.ENDED,
            at=fact.at,
            started_at=fact.started_at,
            engine_job_id=fact.engine_job_id,
            node=fact.node,
        )
        await self._record([completing])
        await self._record_in_turn([self._news(fact, claim)])

    async def _record_in_turn(self, known: Sequence[reports.News]) -> None:
        """Record what these facts mean, again and again until nothing has to wait."""
        waiting = await self._record_all(known, self._made_in_turn)
        while waiting:
            await asyncio.sleep(RETRY_SECONDS)
            waiting = await self._record_all(waiting, self._made_in_turn)

    async def _record_all(
        self, known: Sequence[reports.News], make: Make
    ) -> Sequence[reports.News]:
        """Record what these facts mean; then what the ended ones left can go.

        Returns those that have to wait: their output cannot be had now, or was deleted meanwhile.
        """
        recorded = await self._record(await make(known))
        ends = {report.key for report in recorded if report.ending is not None}
        for key in ends:
            self._waits.works(by=key)
        self._scratch.clear(map(self._folder, ends))
        ended = [news for news in known if isinstance(news.fact, endings.End)]
        return [news for news in ended if news.fact.key not in ends]

    async def _made(self, known: Sequence[reports.News]) -> Sequence[records.Report]:
        # One hop to a thread for all of them: outputs are read, hashed and encoded there.
        return await asyncio.to_thread(self._reports.of_all, known, self._waits)

    async def _made_in_turn(self, known: Sequence[reports.News]) -> Sequence[records.Report]:
        async with self._long_outputs:
            return await self._made(known)

    async def _record(self, made: Sequence[records.Report]) -> Sequence[records.Report]:
        """Record these, but for those whose output goes or has gone; return the others."""
        while made:
            try:
                await self._record_together(made)
            except port.ContentGoingError as error:
                going = {each.key for each in made if _kept_output(each) == error.file_hash}
                for key in going:
                    self._waits.failed(str(error), by=key, kind=type(error).__name__)
                made = [each for each in made if each.key not in going]
            else:
                break
        return made

    async def _record_together(self, made: Sequence[records.Report]) -> None:
        """Record these, all or, with ContentGoingError, none."""
        changed = await self._committed(lambda writer: self._recorded(writer, made))
        ends = {report.key: report for report in made if report.ending is not None}
        for attempt in changed:
            if attempt.status in job.TERMINAL:
                reports.tell_end(attempt, ends.pop(attempt.key))
                self._run_times.note(attempt)
                crashing.point("end.recorded")
        if ends:
            self._on_dropped({key.job_id for key in ends})

    async def _committed(self, work: Callable[[port.Writer], T]) -> T:
        """Commit, again and again while the store does not take it."""
        while True:
            try:
                answer = await self._committer.write(work)
            except errors.UnavailableError as error:
                self._waits.failed(str(error), by=work, kind=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            except port.ContentGoingError:  # an answer, too
                self._waits.works(by=work)
                raise
            else:
                self._waits.works(by=work)
                return answer

    def _recorded(
        self, writer: port.Writer, made: Sequence[records.Report]
    ) -> Sequence[records.Attempt]:
        """Record these in a transaction; from here on nothing of theirs is deleted."""
        changed = writer.record(made)
        kept = [each for each in made if _kept_output(each)]
        if kept:
            # A report that was dropped needs no content.
            ended = {each.key for each in changed if each.status in job.TERMINAL}
            self._library.check_there([_kept_output(each) for each in kept if each.key in ended])
        return changed


def _kept_output(report: records.Report) -> str:
    return "" if report.ending is None else report.ending.kept_output
