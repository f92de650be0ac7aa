"""A scripted engine that holds its caller to the engine's capacity and to the port's promises."""

import pathlib
from collections.abc import Sequence

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from support import engine_scripted


class CheckedEngine(engine_scripted.ScriptedEngine):
    """Counts what runs, and fails whoever submits more than fits or submits twice."""

    def __init__(self, *, cpus: int, scope: str = "scripted") -> None:
        super().__init__(capacity=port.Capacity(cpus=cpus, memory_bytes=0, gpus=0), scope=scope)
        self.running: dict[AttemptKey, int] = {}
        """Cores by what was submitted and has not ended."""

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        for launch in launches:
            assert launch.key not in self.launches, f"{launch.key} is submitted twice"
            self.running[launch.key] = launch.resources.cpus
        assert sum(self.running.values()) <= self.capacity().cpus, self.running
        await super().submit_many(launches)

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        self.running |= dict.fromkeys((key for key, _ in attempts), 1)
        await super().recover(attempts)

    async def tell(self, facts: Sequence[port.Fact]) -> None:
        for fact in facts:
            if not isinstance(fact, port.Started):
                self.running.pop(fact.key, None)
        await super().tell(facts)

    def left_behind(self, key: AttemptKey) -> pathlib.Path:
        """The folder of an attempt, where its output is."""
        return self._folder(key)
