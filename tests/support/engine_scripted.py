"""`ScriptedEngine`: the engine's port with facts that the test tells.

It keeps the port's promises on submitting and cancelling, starts nothing, and tells nothing by
itself. Each telling returns when the report that took it has returned.
"""

import asyncio
import datetime
import pathlib
from collections.abc import Callable, Sequence

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
    ) -> None:
        self.launches: dict[AttemptKey, port.Launch] = {}
        """What was submitted, in order; a repeated launch is here once."""
        self.cancelled: list[AttemptKey] = []
        self.recovered: dict[AttemptKey, pathlib.Path] = {}
        self.is_healthy = True
        self._capacity = capacity
        self._clock = clock or SystemClock()
        self._report: port.Report | None = None
        self._changed = asyncio.Condition()
        self._started_at: dict[AttemptKey, datetime.datetime] = {}
        self._ends: dict[AttemptKey, port.Fact] = {}

    @property
    def name(self) -> str:
        return "scripted"

    def capacity(self) -> port.Capacity:
        return self._capacity

    def healthy(self) -> bool:
        return self.is_healthy

    async def run(self, report: port.Report) -> None:
        async with self._changed:
            self._report = report
            self._changed.notify_all()
        try:
            await asyncio.Event().wait()
        finally:
            self._report = None

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        again = [self._ends[launch.key] for launch in launches if launch.key in self._ends]
        async with self._changed:
            for launch in launches:
                self.launches.setdefault(launch.key, launch)
            self._changed.notify_all()
        if again:
            await self.tell(again)

    async def cancel_many(self, keys: Sequence[AttemptKey]) -> None:
        known = [key for key in keys if key in self.launches or key in self.recovered]
        async with self._changed:
            self.cancelled += [key for key in known if key not in self._ends]
            self._changed.notify_all()

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        async with self._changed:
            self.recovered.update(attempts)
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
        now = self._started_at[key] = self._clock.now()
        await self.tell([port.Started(key=key, at=now, engine_job_id="1", node="here")])

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
                started_at=self._started_at.get(key, now),
                engine_job_id="1",
                node="here",
                exit_code=code if signal is None else None,
                signal=signal,
                cause=cause,
                stdout=folder / "stdout",
                stderr=folder / "stderr",
            )
        )

    async def not_started(self, key: AttemptKey, reason: str) -> None:
        await self._tell_end(port.NotStarted(key=key, at=self._clock.now(), reason=reason))

    async def lost(self, key: AttemptKey, reason: str = "lost") -> None:
        await self._tell_end(port.Lost(key=key, at=self._clock.now(), reason=reason))

    async def tell(self, facts: Sequence[port.Fact]) -> None:
        """Deliver these facts as one report, as soon as the engine runs."""
        await self._until(lambda: self._report is not None)
        assert self._report is not None
        await self._report(facts)

    async def _tell_end(self, end: port.Fact) -> None:
        self._ends[end.key] = end
        await self.tell([end])

    def _folder(self, key: AttemptKey) -> pathlib.Path:
        return self.launches[key].folder if key in self.launches else self.recovered[key]

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(_DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(is_so)
