"""The dispatcher: from the queue to the engine, as fast as there is room.

Promises: an attempt is claimed (CONFIGURING, durable) before the engine hears of it; what all
running attempts declared never exceeds the engine's capacity, but for those of a dead server that
were running already; an engine with a queue of its own is given no more attempts than it takes,
whatever they declared. The queue's order is kept, also by a job too large for what is free; one
that waits for its method's trial is stepped over, and one too large for the whole engine (which had
more when it was accepted) is not started, so these hold up nobody. A lower priority stands back for
a higher one, but not for ever, as far as this server remembers whom it served. Nothing is claimed
or handed over while there is no room on disk. It wakes when something is queued, moved in the
queue, becomes due or ends, and polls only while the store or the disk is not available.

What the store does not answer is not known: after a claim that failed it is asked what is ours
before anything else is claimed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet

from dshpc_server import clock, crashing, errors, outage
from dshpc_server.batches import active, admission, handover, judging, launching, taken_over, trials
from dshpc_server.domain import job, queue
from dshpc_server.domain.job import AttemptKey, JobStatus, Resources
from dshpc_server.engine import port as engine
from dshpc_server.files import room
from dshpc_server.store import committer, port, records

CLAIM_LIMIT = 256
"""Most attempts taken in one transaction."""
RETRY_SECONDS = 1.0
"""Pause after the store or the disk was not available."""
LONGEST_WAIT_SECONDS = 60.0
"""The queue is looked at this often while a retry waits to be due, whatever the clocks do."""


_LEAST = Resources()
"""What every job needs at least."""


class Dispatcher:
    """Claims attempts and hands them to the engine."""

    def __init__(
        self,
        *,
        committer: committer.Committer,
        engine: engine.Engine,
        report: engine.Report,
        active: active.ActiveAttempts,
        launcher: launching.Launcher,
        trials: trials.Trials,
        ageing: queue.Ageing,
        room: room.Room,
        clock: clock.Clock,
        on_fenced: Callable[[str], None],
    ) -> None:
        """`on_fenced` is told as which server we were taken for dead.

        `ageing` says how long a lower priority stands back.
        """
        self._committer = committer
        self._engine = engine
        self._active = active
        self._trials = trials
        self._ageing = ageing
        self._room = room
        self._clock = clock
        self._on_fenced = on_fenced
        self._account = taken_over.TakenOver(clock)
        self._handover = handover.Handover(
            engine=engine,
            report=report,
            active=active,
            launcher=launcher,
            account=self._account,
            clock=clock,
        )
        self._outage = outage.Outage(clock, begins="dispatch.paused", ends="dispatch.resumed")
        self._turn = asyncio.Lock()
        """Held by whoever changes what is claimed: between a claim and the answer nobody else."""
        self._awake = asyncio.Event()
        self._due_at: float | None = None
        """When to look at the queue though nobody wakes us, by the monotonic clock."""
        self._is_in_doubt = False
        """A claim has failed: some of it may be ours all the same."""
        self._shortage = ""
        """What the first in the queue waits for, as far as the last look has shown; else empty."""
        self._held: AbstractSet[AttemptKey] = frozenset()
        """Those that were stepped over then, since they wait for their method's trial."""

    def notice(self, attempts: Sequence[records.Attempt]) -> None:
        """Take note how attempts stand: something was queued, or gave its room back."""
        for attempt in attempts:
            if attempt.status in job.TERMINAL:
                self._active.remove(attempt.key)
                self._awake.set()
            elif attempt.status is JobStatus.PENDING:
                self._awake.set()

    def hear(self, facts: Sequence[engine.Fact]) -> None:
        """Take note of what the engine tells, before it is recorded."""
        self._account.note(facts)

    def wake(self) -> None:
        """Look at the queue: there may be something in it, or room for it."""
        self._awake.set()

    def waiting(self, key: AttemptKey, status: JobStatus) -> engine.Waiting:
        """What is known of an attempt that does not run yet. In any thread."""
        if status is JobStatus.PENDING:
            return engine.Waiting(why=trials.WHY if key in self._held else self._shortage)
        # What another server has claimed is that one's to know.
        is_handed_over = self._active.get(key) is not None and not self._handover.waits(key)
        return self._engine.waiting(key) if is_handed_over else engine.Waiting()

    async def cancel(self, keys: Collection[AttemptKey], reason: str) -> None:
        """Have these attempts stopped; their ends come as those of others do."""
        for key in keys:
            self._active.cancel(key, reason)
        self._awake.set()
        # The engine passes over what it was not given yet. That is seen before it is handed over,
        # or right after.
        await self._engine.cancel_many(list(keys))

    async def take_up(self, found: Sequence[records.ActiveAttempt]) -> None:
        """Go on with attempts that were another server's."""
        async with self._turn:
            await self._handover.take_up(found)
        self._awake.set()

    async def check(self) -> None:
        """Compare what we know to be ours with what the store says, and go by the store."""
        async with self._turn:
            await self._check()
        self._awake.set()

    async def begin_anew(self, rejoin: Callable[[], Awaitable[None]]) -> None:
        """Forget all attempts, which others have now; nothing is claimed until we have rejoined."""
        async with self._turn:
            await self._handover.forget(set(self._active.keys))
            await rejoin()
            self._is_in_doubt = False
        self._awake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        self._awake.set()
        while True:
            await self._until_awake()
            self._awake.clear()
            try:
                async with self._turn:
                    await self._fill()
                self._outage.works()
            except port.FencedError as error:
                self._on_fenced(error.server_id)
            except errors.UnavailableError as error:
                self._outage.failed(str(error), kind=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                self._awake.set()

    async def _until_awake(self) -> None:
        """Wait until somebody wakes us, or something is due."""
        due_at, self._due_at = self._due_at, None
        seconds = None if due_at is None else max(0.0, due_at - self._clock.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    def _look_again_in(self, seconds: float | None) -> None:
        if seconds is not None:
            due_at = self._clock.monotonic() + min(seconds, LONGEST_WAIT_SECONDS)
            self._due_at = due_at if self._due_at is None else min(self._due_at, due_at)

    async def _fill(self) -> None:
        """Claim and submit until the engine is full or the queue is empty."""
        if self._is_in_doubt:
            await self._check()
        await self._handover.refuse_cancelled()
        while self._has_room():
            is_done = await self._handover.submit()
            if not await self._claim():
                self._look_again_in(None if is_done else RETRY_SECONDS)
                return
        self._look_again_in(RETRY_SECONDS)

    def _has_room(self) -> bool:
        """Whether there is room on disk."""
        has_room = self._room.has_room()
        if has_room:
            self._outage.works(by="room")
        else:
            self._outage.failed(room.NO_ROOM, by="room", kind=errors.NoRoomError.__name__)
            self._shortage = f"waits: {room.NO_ROOM}"
        return has_room

    async def _claim(self) -> bool:
        """Claim what the engine has room for; whether there was anything."""
        capacity = self._engine.capacity()
        in_use, attempts = self._active.in_use, self._active.using
        trial = self._trials.round(capacity)
        judge = judging.Judge(capacity=capacity, in_use=in_use, attempts=attempts, trial=trial)
        limit, ageing = min(judge.most_jobs, CLAIM_LIMIT), self._ageing
        if not limit:
            all_left = admission.Room(capacity, in_use, attempts)
            self._shortage, self._held = judging.waits_for(all_left, _LEAST), frozenset()
            return False

        def work(writer: port.Writer) -> records.Claims:
            judge.restart()  # this may be run more than once
            return writer.claim(judge.verdict, limit, ageing)

        self._is_in_doubt = True
        claims = await self._committer.write(work)
        if claims.taken:
            crashing.point("claim.committed")
        self._is_in_doubt = False
        self._ageing = claims.ageing
        self._shortage, self._held = judge.shortage, judge.held
        self._trials.keep(trial)
        self._handover.add(claims.taken)
        self._look_again_in(claims.next_due_seconds)
        self._look_again_in(trial.held_seconds)
        return bool(claims.taken)

    async def _check(self) -> None:
        # Who is known now was ours by then: who is not ours any more has ended, or was taken over.
        known = set(self._active.keys)
        found = await self._committer.read(lambda store: store.find_active())
        ours = {each.claim.key for each in found}
        await self._handover.forget(known - ours)
        # Who was known and is not has ended since the store was asked.
        ended = known.difference(self._active.keys)
        await self._handover.take_up([each for each in found if each.claim.key not in ended])
        for each in found:
            key, reason = each.claim.key, each.cancel_reason
            if reason is not None and self._active.cancel_reason(key) is None:
                await self.cancel([key], reason)
        self._is_in_doubt = False
