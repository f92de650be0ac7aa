"""The dispatcher: from the queue to the engine, as fast as there is room.

Promises: an attempt is claimed (CONFIGURING, durable) before the engine hears of it; what all
running attempts declared never exceeds the engine's capacity; the queue's order is kept, also by a
job too large for what is free; one too large for the whole engine (which had more when it was
accepted) is not started, and holds up nobody; what is to be stopped is not handed over, or the
engine is told to stop it, whatever it is in the middle of. It wakes when something is queued or
ends, and polls only while the store or the disk is not available.
"""

import asyncio
import collections
from collections.abc import Collection, Sequence

import structlog

from dshpc_server import clock, errors
from dshpc_server.batches import active, admission, launching
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.engine import port as engine
from dshpc_server.store import committer, port

CLAIM_LIMIT = 256
"""Most attempts taken in one transaction."""
RETRY_SECONDS = 1.0
"""Pause after the store or the disk was not available."""

_STOPPED = "Stopped before it was started"
"""What becomes of an attempt that is to be stopped says its own reason; see `endings`."""

_log = structlog.get_logger(__name__)


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
        clock: clock.Clock,
    ) -> None:
        self._committer = committer
        self._engine = engine
        self._report = report
        self._active = active
        self._launcher = launcher
        self._clock = clock
        self._awake = asyncio.Event()
        self._claimed: collections.deque[port.Claim] = collections.deque()
        """What is claimed and not handed over yet."""

    def notice(self, changes: Sequence[port.Attempt]) -> None:
        """Take note of committed changes: something was queued, or gave its room back."""
        for attempt in changes:
            if attempt.status in job.TERMINAL:
                self._active.remove(attempt.key)
                self._awake.set()
            elif attempt.status is JobStatus.PENDING:
                self._awake.set()

    def wake(self) -> None:
        """Look at the queue: a process has ended and its room is free."""
        self._awake.set()

    async def cancel(self, keys: Collection[AttemptKey], reason: str) -> None:
        """Have these attempts stopped; their ends come as those of others do."""
        for key in keys:
            self._active.cancel(key, reason)
        self._awake.set()
        # The engine passes over what it was not given yet. That is seen before it is handed over,
        # or right after.
        await self._engine.cancel_many(list(keys))

    async def recover(self) -> None:
        """Take up what an earlier server had claimed; called once, before `run`.

        A claimed attempt without a folder was never handed over: it is handed over now, unless it
        is to be stopped. The others are the engine's to account for, and to stop.
        """
        found = await self._committer.read(lambda store: store.find_active())
        for attempt in found:
            self._active.add(attempt.claim)
            if attempt.cancel_reason is not None:
                self._active.cancel(attempt.claim.key, attempt.cancel_reason)
        folders = {a.claim.key: self._launcher.folder(a.claim.key) for a in found}
        handed_over = await asyncio.to_thread(
            lambda: {key for key, folder in folders.items() if folder.exists()}
        )
        # Whatever an engine has of these, or has not, it stops or tells to be lost.
        handed_over |= {key for key in folders if self._is_cancelled(key)}
        await self._engine.recover([(key, folders[key]) for key in folders if key in handed_over])
        await self._engine.cancel_many([key for key in folders if self._is_cancelled(key)])
        self._claimed.extend(a.claim for a in found if a.claim.key not in handed_over)
        if found:
            _log.info("recovered", attempts=len(found), handed_over=len(handed_over))

    async def run(self) -> None:
        """Serve until cancelled."""
        self._awake.set()
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self._fill()
            except errors.UnavailableError as error:
                _log.warning("dispatch.unavailable", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._awake.set()

    async def _fill(self) -> None:
        """Claim and submit until the engine is full or the queue is empty."""
        await self._submit()
        while True:
            room = admission.Room(self._engine.capacity(), self._active.in_use)
            if not room.most_jobs or not await self._claim(room):
                return
            await self._submit()

    async def _claim(self, room: admission.Room) -> bool:
        limit = min(room.most_jobs, CLAIM_LIMIT)
        capacity = self._engine.capacity()

        def is_due(wanted: job.Resources) -> bool:
            return room.take(wanted) or admission.refusal(wanted, capacity) is not None

        claims = await self._committer.write(lambda writer: writer.claim(is_due, limit))
        for claim in claims:
            self._active.add(claim)
        self._claimed.extend(claims)
        return bool(claims)

    async def _submit(self) -> None:
        """Hand over what is claimed. Raises UnavailableError; what is left is kept."""
        refused = [self._not_started(claim.key, _STOPPED) for claim in self._without_cancelled()]
        launches: list[engine.Launch] = []
        unavailable: errors.UnavailableError | None = None
        while self._claimed and unavailable is None:
            claim = self._claimed[0]
            try:
                launches.append(await self._launch(claim))
            except launching.NotLaunchableError as error:
                refused.append(self._not_started(claim.key, str(error)))
            except errors.UnavailableError as error:
                unavailable = error
                continue
            self._claimed.popleft()
        cancelled = [launch.key for launch in launches if self._is_cancelled(launch.key)]
        refused += [self._not_started(key, _STOPPED) for key in cancelled]
        await self._hand_over([launch for launch in launches if launch.key not in cancelled])
        if refused:
            await self._report(refused)
        if unavailable is not None:
            raise unavailable

    async def _hand_over(self, launches: Sequence[engine.Launch]) -> None:
        if not launches:
            return
        await self._engine.submit_many(launches)
        cancelled = [launch.key for launch in launches if self._is_cancelled(launch.key)]
        if cancelled:
            await self._engine.cancel_many(cancelled)

    def _without_cancelled(self) -> Sequence[port.Claim]:
        """Take out what is claimed and to be stopped."""
        claimed = list(self._claimed)
        self._claimed.clear()
        self._claimed.extend(claim for claim in claimed if not self._is_cancelled(claim.key))
        return [claim for claim in claimed if self._is_cancelled(claim.key)]

    def _is_cancelled(self, key: AttemptKey) -> bool:
        return self._active.cancel_reason(key) is not None

    def _not_started(self, key: AttemptKey, reason: str) -> engine.NotStarted:
        return engine.NotStarted(key=key, at=self._clock.now(), reason=reason)

    async def _launch(self, claim: port.Claim) -> engine.Launch:
        refused = admission.refusal(claim.resources, self._engine.capacity())
        if refused is not None:
            raise launching.NotLaunchableError(refused.message)
        return await self._launcher.launch(claim)
