"""A scripted engine that holds its caller to the engine's capacity and to the port's promises."""

import pathlib
from collections.abc import Sequence

from dshpc_server.batches import endings
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from support import engine_scripted


class CheckedEngine(engine_scripted.ScriptedEngine):
    """Counts what runs, and fails whoever submits more than fits or submits twice."""

    def __init__(self, *, capacity: port.Capacity, scope: str = "scripted") -> None:
        super().__init__(capacity=capacity, scope=scope)
        self.running: dict[AttemptKey, int] = {}
        """Cores by what was submitted and has not ended."""

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        for launch in launches:
            assert launch.key not in self.launches, f"{launch.key} is submitted twice"
            self.running[launch.key] = launch.resources.cpus
        capacity = self.capacity()
        if capacity.queued_jobs is None:
            assert sum(self.running.values()) <= capacity.cpus, self.running
        else:
            assert len(self.running) <= capacity.queued_jobs, self.running
        await super().submit_many(launches)

    def learn(self, capacity: port.Capacity) -> None:
        """Have it know better what there is."""
        self._capacity = capacity

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        self.running |= dict.fromkeys((key for key, _ in attempts), 1)
        await super().recover(attempts)

    async def tell(self, facts: Sequence[port.Fact]) -> None:
        for fact in facts:
            if isinstance(fact, endings.End):
                self.running.pop(fact.key, None)
        await super().tell(facts)

    def left_behind(self, key: AttemptKey) -> pathlib.Path:
        """The folder of an attempt, where its output is."""
        return self._folder(key)
