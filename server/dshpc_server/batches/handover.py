"""Handing over: what is claimed and the engine has not been given yet.

Promises: what is to be stopped is not handed over, or the engine is told to stop it, whatever this
is in the middle of; what cannot be handed over just now is kept, in its order; what somebody else
had claimed is taken up where they left it. Who had it may be slow, not dead, and hand it over yet:
so what was taken up is not refused behind the engine's back, which accounts for it, and bars it.
"""

import asyncio
import dataclasses
import pathlib
from collections.abc import Collection, Sequence

from dshpc_server import clock, crashing, errors, outage
from dshpc_server.batches import active, admission, launching, taken_over
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port as engine
from dshpc_server.store import records

_STOPPED = "Stopped before it was started"
"""What becomes of an attempt that is to be stopped says its own reason; see `endings`."""


class Handover:
    """Claims on their way to the engine. One caller at a time; the dispatcher's."""

    def __init__(
        self,
        *,
        engine: engine.Engine,
        report: engine.Report,
        active: active.ActiveAttempts,
        launcher: launching.Launcher,
        account: taken_over.TakenOver,
        clock: clock.Clock,
    ) -> None:
        """`account` is told what is taken up."""
        self._account = account
        self._engine = engine
        self._report = report
        self._active = active
        self._launcher = launcher
        self._clock = clock
        self._outage = outage.Outage(clock, begins="launch.waits", ends="launch.goes_on")
        self._claimed: dict[AttemptKey, records.Claim] = {}
        """In their order."""
        self._taken_up: set[AttemptKey] = set()
        """Those of the claimed that somebody else may hand over, too."""

    def add(self, claims: Sequence[records.Claim]) -> None:
        """Take these attempts, which are ours now, to be handed over."""
        for claim in claims:
            self._active.add(claim)
            self._claimed[claim.key] = claim

    def waits(self, key: AttemptKey) -> bool:
        """Whether an attempt is ours and the engine has not been given it yet. In any thread."""
        return key in self._claimed

    async def take_up(self, found: Sequence[records.ActiveAttempt]) -> None:
        """Go on with attempts that are ours now, however far somebody else came with them.

        One without a folder, and of which no start was told, was never handed over: it is now,
        unless it is to be stopped. The others are the engine's to account for, and to stop.
        """
        new = [each for each in found if self._active.get(each.claim.key) is None]
        if not new:
            return
        for each in new:
            self._active.add(each.claim)
            if each.cancel_reason is not None:
                self._active.cancel(each.claim.key, each.cancel_reason)
        keys = [each.claim.key for each in new]
        handed_over = await asyncio.to_thread(self._with_folder, keys)
        # These ran, wherever their folders went.
        handed_over |= {each.claim.key for each in new if each.started_at is not None}
        # Whatever an engine has of these, or has not, it stops or tells to be lost.
        handed_over |= {key for key in keys if self._is_cancelled(key)}
        self._account.begin(new, handed_over)
        await self._recover([key for key in keys if key in handed_over])
        left = {each.claim.key: each.claim for each in new if each.claim.key not in handed_over}
        self._claimed.update(left)
        self._taken_up.update(left)

    async def forget(self, keys: Collection[AttemptKey]) -> None:
        """Leave these attempts to others, or to nobody; whatever runs of them is not touched."""
        if not keys:
            return
        for key in keys:
            self._active.remove(key)
        self._drop(keys)
        self._taken_up.difference_update(keys)
        self._account.forget(keys)
        await self._engine.forget(list(keys))

    async def refuse_cancelled(self) -> None:
        """Tell of what is to be stopped that it was not started."""
        refused = [key for key in self._claimed if self._is_cancelled(key)]
        if refused:
            self._drop(refused)
            await self._refuse([self._not_started(key, _STOPPED) for key in refused])

    async def submit(self) -> bool:
        """Hand over what is claimed; whether it is all.

        What the disk does not tell of is kept, and holds up no other. Raises UnavailableError when
        it is not about one of them; what is left then is kept, too.
        """
        refused: list[engine.NotStarted] = []
        launches: list[engine.Launch] = []
        waiting: list[tuple[AttemptKey, errors.NoAnswerError]] = []
        unavailable: errors.UnavailableError | None = None
        claims = list(self._claimed.values())
        await self._launcher.look(claims)
        for claim in claims:
            try:
                launches.append(await self._launch(claim))
            except launching.NotLaunchableError as error:
                refused.append(self._not_started(claim.key, str(error), is_permanent=True))
            except errors.NoAnswerError as error:
                waiting.append((claim.key, error))
                continue
            except errors.UnavailableError as error:
                unavailable = error
                break
            self._drop([claim.key])
        cancelled = [launch.key for launch in launches if self._is_cancelled(launch.key)]
        refused += [self._not_started(key, _STOPPED) for key in cancelled]
        await self._hand_over([launch for launch in launches if launch.key not in cancelled])
        await self._refuse(refused)
        if unavailable is not None:
            raise unavailable
        self._tell(waiting)
        return not waiting

    def _tell(self, waiting: Sequence[tuple[AttemptKey, errors.NoAnswerError]]) -> None:
        if waiting:
            key, why = waiting[0]
            self._outage.failed(str(why), job_id=key.job_id, attempts_waiting=len(waiting))
        else:
            self._outage.works()

    async def _hand_over(self, launches: Sequence[engine.Launch]) -> None:
        if not launches:
            return
        await self._engine.submit_many(launches)
        self._taken_up.difference_update(launch.key for launch in launches)
        crashing.point("launch.handed_over")
        cancelled = [launch.key for launch in launches if self._is_cancelled(launch.key)]
        if cancelled:
            await self._engine.cancel_many(cancelled)

    async def _refuse(self, refused: Sequence[engine.NotStarted]) -> None:
        """Tell of these that they were not started; of what was taken up the engine is to tell."""
        barred = [each.key for each in refused if each.key in self._taken_up]
        self._taken_up.difference_update(barred)
        told = [each for each in refused if each.key not in barred]
        if told:
            await self._report(told)
        if barred:
            await self._recover(barred)

    async def _recover(self, keys: Sequence[AttemptKey]) -> None:
        """Have the engine account for these, and stop those that are to be stopped."""
        await self._engine.recover([(key, self._launcher.folder(key)) for key in keys])
        await self._engine.cancel_many([key for key in keys if self._is_cancelled(key)])

    def _with_folder(self, keys: Sequence[AttemptKey]) -> set[AttemptKey]:
        return {key for key in keys if _may_be_there(self._launcher.folder(key))}

    def _drop(self, keys: Collection[AttemptKey]) -> None:
        for key in keys:
            self._claimed.pop(key, None)

    def _is_cancelled(self, key: AttemptKey) -> bool:
        return self._active.cancel_reason(key) is not None

    def _not_started(
        self, key: AttemptKey, reason: str, *, is_permanent: bool = False
    ) -> engine.NotStarted:
        return engine.NotStarted(
            key=key, at=self._clock.now(), reason=reason, is_permanent=is_permanent
        )

    async def _launch(self, claim: records.Claim) -> engine.Launch:
        capacity = self._engine.capacity()
        refused = admission.refusal(claim.resources, capacity)
        if refused is not None:
            raise launching.NotLaunchableError(refused.message)
        longest = capacity.longest_seconds
        if longest is not None and claim.timeout_seconds > longest:
            # It was accepted before this was known, and may not even have asked for its time.
            claim = dataclasses.replace(claim, timeout_seconds=longest)
            if self._active.get(claim.key) is not None:
                self._active.add(claim)
        return await self._launcher.launch(claim)


def _may_be_there(folder: pathlib.Path) -> bool:
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # what is not known to be new is the engine's to account for
        return True
    return True
