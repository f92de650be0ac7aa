"""`ScriptedEngine`: the engine's port with facts that the test tells.

It keeps the port's promises on submitting, cancelling, recovering and forgetting, starts nothing,
and tells nothing new by itself. Each telling returns when the report that took it has returned.
"""

import asyncio
import pathlib
from collections.abc import Callable, Mapping, Sequence

from dshpc_server.clock import Clock, SystemClock
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port

_DEADLINE_SECONDS = 30.0


class ScriptedEngine:
    """Records what it is asked for; tells what the test says."""

    def __init__(
        self,
        *,
        capacity: port.Capacity = port.Capacity(cpus=2, memory_bytes=0, gpus=0),  # noqa: B008 - frozen
        clock: Clock | None = None,
        scope: str = "scripted",
    ) -> None:
        self.launches: dict[AttemptKey, port.Launch] = {}
        """What was submitted, in order; a repeated launch is here once."""
        self.cancelled: list[AttemptKey] = []
        self.recovered: dict[AttemptKey, pathlib.Path] = {}
        self.forgotten: set[AttemptKey] = set()
        """What is to be told to nobody, until it is submitted or recovered again."""
        self.is_healthy = True
        self.queue: dict[AttemptKey, port.Waiting] = {}
        """What is known of these, which do not run yet."""
        self._capacity = capacity
        self._scope = scope
        self._clock = clock or SystemClock()
        self._report: port.Report | None = None
        self._changed = asyncio.Condition()
        self._starts: dict[AttemptKey, port.Started] = {}
        self._untold: list[port.Fact] = []
        """What is to be told again as soon as the engine runs."""
        self._ends: dict[AttemptKey, port.Fact] = {}

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def scope(self) -> str:
        return self._scope

    def capacity(self) -> port.Capacity:
        return self._capacity

    def healthy(self) -> bool:
        return self.is_healthy

    def waiting(self, key: AttemptKey) -> port.Waiting:
        return self.queue.get(key, port.Waiting())

    async def run(self, report: port.Report) -> None:
        async with self._changed:
            self._report = report
            self._changed.notify_all()
        try:
            untold, self._untold = self._untold, []
            if untold:
                await report(untold)
            await asyncio.Event().wait()
        finally:
            self._report = None

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        again = [self._ends[launch.key] for launch in launches if launch.key in self._ends]
        async with self._changed:
            for launch in launches:
                self.launches.setdefault(launch.key, launch)
                self.forgotten.discard(launch.key)
            self._changed.notify_all()
        if again:
            await self.tell(again)

    async def cancel_many(self, keys: Sequence[AttemptKey]) -> None:
        async with self._changed:
            self.cancelled += [key for key in keys if self._watches(key)]
            self._changed.notify_all()

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        taken_up = [key for key, _ in attempts if not self._watches(key)]
        async with self._changed:
            self.recovered.update(attempts)
            self.forgotten.difference_update(taken_up)
            self._changed.notify_all()
        again = [*self._known(self._starts, taken_up), *self._known(self._ends, taken_up)]
        if self._report is None:
            self._untold += again
        elif again:
            await self.tell(again)

    async def forget(self, keys: Sequence[AttemptKey]) -> None:
        async with self._changed:
            self.forgotten.update(keys)
            self._changed.notify_all()

    async def launched(self, key: AttemptKey) -> port.Launch:
        """Wait until this attempt was submitted."""
        await self._until(lambda: key in self.launches)
        return self.launches[key]

    async def launched_count(self, count: int) -> list[port.Launch]:
        """Wait until so many attempts were submitted; all of them, in order."""
        await self._until(lambda: len(self.launches) >= count)
        return list(self.launches.values())

    async def cancel_asked(self, key: AttemptKey) -> None:
        """Wait until this attempt was to be cancelled."""
        await self._until(lambda: key in self.cancelled)

    async def started(self, key: AttemptKey) -> None:
        start = port.Started(key=key, at=self._clock.now(), engine_job_id="1", node="here")
        self._starts[key] = start
        await self.tell([start])

    async def exited(
        self,
        key: AttemptKey,
        code: int = 0,
        *,
        signal: int | None = None,
        cause: port.Cause = port.Cause.NONE,
        stdout: bytes = b"",
        stderr: bytes = b"",
    ) -> None:
        """Leave stdout and stderr in the attempt's folder and tell the exit."""
        folder = self._folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stdout").write_bytes(stdout)
        (folder / "stderr").write_bytes(stderr)
        now = self._clock.now()
        await self._tell_end(
            port.Exited(
                key=key,
                at=now,
                started_at=self._starts[key].at if key in self._starts else now,
                engine_job_id="1",
                node="here",
                exit_code=code if signal is None else None,
                signal=signal,
                cause=cause,
                stdout=folder / "stdout",
                stderr=folder / "stderr",
            )
        )

    async def not_started(
        self, key: AttemptKey, reason: str, *, is_permanent: bool = False
    ) -> None:
        now = self._clock.now()
        await self._tell_end(
            port.NotStarted(key=key, at=now, reason=reason, is_permanent=is_permanent)
        )

    async def lost(self, key: AttemptKey, reason: str = "lost") -> None:
        await self._tell_end(port.Lost(key=key, at=self._clock.now(), reason=reason))

    async def tell(self, facts: Sequence[port.Fact]) -> None:
        """Deliver these facts as one report, as soon as the engine runs; not of the forgotten."""
        await self._until(lambda: self._report is not None)
        assert self._report is not None
        told = [fact for fact in facts if fact.key not in self.forgotten]
        if told:
            await self._report(told)

    def _watches(self, key: AttemptKey) -> bool:
        is_known = key in self.launches or key in self.recovered
        return is_known and key not in self.forgotten and key not in self._ends

    def _known(
        self, facts: Mapping[AttemptKey, port.Fact], keys: Sequence[AttemptKey]
    ) -> list[port.Fact]:
        return [facts[key] for key in keys if key in facts]

    async def _tell_end(self, end: port.Fact) -> None:
        self._ends[end.key] = end
        await self.tell([end])

    def _folder(self, key: AttemptKey) -> pathlib.Path:
        return self.launches[key].folder if key in self.launches else self.recovered[key]

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(_DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(is_so)
