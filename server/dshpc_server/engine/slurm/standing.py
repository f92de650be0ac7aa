"""What is known of the cluster: whether it answers, what it has, what it allows.

Promise: a controller that does not answer changes nothing but `is_answering`; the last that was
known counts. One warning tells the log when it is gone, one line when it is back.
"""

import asyncio
import datetime
import math
from collections.abc import Sequence

from dshpc_server import clock, outage
from dshpc_server.domain import fitting
from dshpc_server.domain.job import Resources
from dshpc_server.engine import port
from dshpc_server.engine.slurm import arrays, cluster

REFRESH_SECONDS = 300.0
"""How often it is asked what it has: nodes and limits change seldom."""
DOUBTED_REFRESH_SECONDS = 5.0
"""The same while something is gone that it had accepted."""
# What an array may be where the cluster was never asked: Slurm's own default.
_UNKNOWN_ARRAY_TASKS = 1000


class Standing:
    """The cluster as it was last seen."""

    def __init__(
        self,
        asked: cluster.Cluster,
        *,
        queued_jobs: int,
        packs_below_seconds: float,
        clock: clock.Clock,
    ) -> None:
        self._cluster = asked
        self._packs_below_seconds = packs_below_seconds
        self._queued_jobs = queued_jobs
        self._clock = clock
        self._outage = outage.Outage(clock, begins="engine.no_controller", ends="engine.controller")
        self._limits: cluster.Limits | None = None
        self._partition: cluster.Partition | None = None
        self._nodes: Sequence[Resources] = ()
        """What each kind of node of it has for jobs."""
        self._asked_at = -math.inf
        self._restarted_at: datetime.datetime | None = None
        self._answering = asyncio.Event()

    @property
    def is_answering(self) -> bool:
        """Whether the controller answered when it was asked last."""
        return self._answering.is_set()

    async def until_answering(self) -> None:
        """Wait until the controller answers."""
        await self._answering.wait()

    @property
    def booted_at(self) -> datetime.datetime | None:
        """When the controller was started; None when it has not said."""
        return self._limits.booted_at if self._limits else None

    @property
    def restarted_at(self) -> datetime.datetime | None:
        """When it was started anew, while we knew it; None when it was not."""
        return self._restarted_at

    @property
    def has_accounting(self) -> bool:
        """Whether ends can be asked of accounting."""
        return self._limits is not None and self._limits.has_accounting

    def capacity(self) -> port.Capacity:
        """What there is; nothing is refused before the cluster has said what it has."""
        found = self._partition
        if found is None:
            return port.Capacity(cpus=0, memory_bytes=0, gpus=0, queued_jobs=self._queued_jobs)
        return port.Capacity(
            cpus=found.cpus,
            memory_bytes=found.memory_bytes,
            gpus=found.gpus,
            nodes=self._nodes,
            longest_seconds=found.longest_seconds,
            queued_jobs=self._queued_jobs,
            packs_below_seconds=self._packs_below_seconds,
        )

    def why_never(self, wanted: Resources) -> str | None:
        """Why no node can ever run what needs this, for people; None when one can, or nobody knows.

        What was handed over before the cluster had answered is to be asked for here.
        """
        if self._partition is None:
            return None
        refused = fitting.refusal(wanted, self._nodes, are_nodes=True)
        return refused.message if refused else None

    def room(self) -> arrays.Room:
        """What an array may be."""
        limits, partition = self._limits, self._partition
        return arrays.Room(
            max_array_tasks=_array_tasks(limits) if limits else _UNKNOWN_ARRAY_TASKS,
            cpus=partition.cpus if partition else 0,
            longest_seconds=partition.longest_seconds if partition else None,
            # Slurm sends a signal once, and to a task that is in a prolog in vain.
            can_signal=limits is not None and not limits.has_prolog,
        )

    async def refresh(self, *, is_doubted: bool) -> None:
        """Ask what it has, when it is time: sooner if it may be another one than it was.

        Raises UnreachableError.
        """
        age_seconds = self._clock.monotonic() - self._asked_at
        if age_seconds < (DOUBTED_REFRESH_SECONDS if is_doubted else REFRESH_SECONDS):
            return
        limits = await self._cluster.limits()
        if self._limits is not None and limits.booted_at != self._limits.booted_at:
            self._restarted_at = limits.booted_at
        self._limits = limits
        self._partition = await self._cluster.partition()
        self._nodes = tuple(map(arrays.left_for_jobs, self._partition.nodes))
        self._asked_at = self._clock.monotonic()

    @property
    def asked_at(self) -> float:
        """When it was asked last what it is, by the monotonic clock."""
        return self._asked_at

    def doubt(self) -> None:
        """Have it asked anew: it may be another one than it was."""
        self._asked_at = -math.inf

    def answers(self) -> None:
        """Take note that it has answered."""
        self._answering.set()
        self._outage.works()

    def fails(self, error: cluster.UnreachableError) -> None:
        """Take note that it has not."""
        self._answering.clear()
        self.doubt()
        self._outage.failed(error.reason, command=error.command)


def _array_tasks(limits: cluster.Limits) -> int:
    """How many tasks an array may have: it has to find room among the jobs of all others, too."""
    return max(1, min(limits.max_array_tasks, limits.max_jobs // 2))
