"""A clock for a Slurm engine that goes only when a test moves it: a minute passes in a moment."""

import datetime
import time

from dshpc_server.engine.slurm import looking
from support import engine_told

PACE = looking.Pace(records_seconds=0.005)
"""How often to look by such a clock: the engine sees at once how late it has become."""
_READS_IN_A_LOOK = 6


class Hands:
    """The clock. Files have moments of their own, so what the time of day is it tells truly."""

    def __init__(self) -> None:
        self._reads = 0
        self._seconds = 1000.0

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(time.time(), datetime.UTC)

    def monotonic(self) -> float:
        self._reads += 1
        return self._seconds

    def move(self, seconds: float) -> None:
        """Let this time be over at once."""
        self._seconds += seconds

    async def let_pass(self, seconds: int, *, step: int = 1) -> None:
        """Let this time pass, and the engine look after each step of it."""
        for _ in range(0, seconds, step):
            self.move(step)
            wanted = self._reads + _READS_IN_A_LOOK
            await engine_told.eventually(lambda: self._reads >= wanted)  # noqa: B023 - it is over with the turn
