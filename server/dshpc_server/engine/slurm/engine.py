"""`SlurmEngine`: attempts as tasks of job arrays on a Slurm cluster.

The data folder is on a file system that the nodes share. What becomes of an attempt is read there,
from the record that its wrapper leaves; Slurm is asked, once for everything, where there is none.
The engine holds no truth: what it knows of an attempt it finds again by the attempt's folder and by
the name of its array, so any server of the deployment can take over from any other.
"""

import asyncio
import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import NoReturn

import structlog

from dshpc_server import clock
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import delivery, port
from dshpc_server.engine.slurm import (
    array_folder,
    arrays,
    cluster,
    concluding,
    looking,
    places,
    records,
    standing,
    stopping,
    submitting,
    sweeping,
    verdict,
    watching,
)
from dshpc_server.engine.slurm.watching import Watched

SCOPE = "slurm"
SCRIPT = pathlib.Path(__file__).with_name("task.sh")
_RETRY_SECONDS = 2.0
"""Until a disk that has not told where an attempt was put is asked again."""
_SYSTEM_CLOCK = clock.SystemClock()
_log = structlog.get_logger(__name__)


class SlurmEngine:
    """The `Engine` of a cluster.

    `folder` is the engine's own in the data folder, the same for all servers of the deployment;
    `new_id` gives another word each time. `environment` is the server's; methods see PATH and TZ.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        cluster: cluster.Cluster,
        deployment_id: str,
        new_id: arrays.NewId,
        environment: Mapping[str, str],
        policy: arrays.Policy,
        queued_jobs: int,
        patience: verdict.Patience = verdict.Patience(),  # noqa: B008 - frozen
        pace: looking.Pace = looking.Pace(),  # noqa: B008 - frozen
        clock: clock.Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._prefix = f"dshpc-{deployment_id}-"
        self._unread: list[Watched] = []
        """Recovered, but the disk did not tell where they were put."""
        arrays_dir = folder.absolute() / "arrays"
        self._arrays_dir = arrays_dir
        self._clock = clock
        self._standing = standing.Standing(
            cluster,
            queued_jobs=queued_jobs,
            packs_below_seconds=policy.packs_below_seconds,
            clock=clock,
        )
        self._watching = watching.Watching(arrays_dir)
        self._delivery = delivery.Delivery[Watched](
            is_current=self._watching.is_current, on_end=self._watching.drop
        )
        self._submitting = submitting.Submitting(
            cluster=cluster,
            watching=self._watching,
            standing=self._standing,
            delivery=self._delivery,
            sending=submitting.Sending(
                arrays_dir=arrays_dir,
                script=SCRIPT,
                prefix=self._prefix,
                new_id=new_id,
                environment=dict(environment),  # that of a process is slow to look up
                policy=policy,
            ),
            on_submitted=self._look,
            clock=clock,
        )
        self._stopping = stopping.Stopping(
            cluster=cluster, watching=self._watching, on_told=self._hurry
        )
        self._looking = looking.Looking(
            cluster=cluster,
            watching=self._watching,
            standing=self._standing,
            delivery=self._delivery,
            submitting=self._submitting,
            concluding=concluding.Concluding(
                watching=self._watching,
                standing=self._standing,
                delivery=self._delivery,
                submitting=self._submitting,
                patience=patience,
                clock=clock,
            ),
            pace=pace,
            clock=clock,
        )
        self._sweeping = sweeping.Sweeping(
            arrays_dir, prefix=self._prefix, cluster=cluster, watching=self._watching, clock=clock
        )

    @property
    def name(self) -> str:
        """The kind of engine."""
        return "slurm"

    @property
    def scope(self) -> str:
        """The cluster: every server of the deployment can ask it, and sees the same folders."""
        return SCOPE

    def capacity(self) -> port.Capacity:
        """What the partition has, and how much may be in Slurm's queue."""
        return self._standing.capacity()

    def healthy(self) -> bool:
        """Whether the controller answered when it was asked last."""
        return self._standing.is_answering

    def waiting(self, key: AttemptKey) -> port.Waiting:
        """What is known of an attempt that does not run yet. See the port."""
        watched = self._watching.find(key)
        if watched is None or watched.has_ended:
            return port.Waiting()
        why = "" if watched.has_started else self._why_waiting(watched)
        return port.Waiting(why=why, engine_job_id=self._task_id(watched))

    async def run(self, report: port.Report) -> None:
        """Serve and deliver facts until cancelled. See the port."""
        await asyncio.to_thread(self._arrays_dir.mkdir, mode=0o700, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._delivery.run(report))
            tasks.create_task(self._submitting.run())
            tasks.create_task(self._stopping.run())
            tasks.create_task(self._looking.run())
            tasks.create_task(self._sweeping.run())
            tasks.create_task(self._place_unread())

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        """Submit these attempts. See the port."""
        for launch in launches:
            watched = self._watching.add(launch.key, launch.folder, launch)
            if watched is not None:
                self._submitting.add(watched)

    async def cancel_many(self, keys: Sequence[AttemptKey]) -> None:
        """Stop these attempts. See the port."""
        unsent = []
        for key in keys:
            watched = self._watching.find(key)
            if watched is None or watched.has_ended:
                continue
            watched.is_cancelled = True
            if self._submitting.remove(watched):
                unsent.append(watched)
            else:
                self._stopping.add(watched)
        if unsent:
            await self._end_unsent(unsent)

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        """Take up attempts by key and folder. See the port."""
        new = [self._watching.add(key, folder, None) for key, folder in attempts]
        await self._place([each for each in new if each])

    async def _place_unread(self) -> NoReturn:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            unread, self._unread = self._unread, []
            if unread:
                await self._place([each for each in unread if self._watching.is_current(each)])

    async def _place(self, recovered: Sequence[Watched]) -> None:
        """Watch these where they were put, as far as the disk tells."""
        found, unread = await asyncio.to_thread(self._find_places, recovered)
        self._unread += unread
        for watched, place in found:
            if self._watching.is_current(watched):
                self._watching.put(watched, place)
                if watched.is_cancelled:
                    self._stopping.add(watched)
        if found:
            self._look()

    async def forget(self, keys: Sequence[AttemptKey]) -> None:
        """Stop watching these attempts. See the port."""
        for key in keys:
            watched = self._watching.find(key)
            if watched is not None:
                self._submitting.remove(watched)
                self._watching.drop(watched)

    def _why_waiting(self, watched: Watched) -> str:
        if not self._standing.is_answering:
            return "Slurm's controller does not answer"
        if self._submitting.is_waiting(watched):
            return "waits to be submitted to Slurm"
        return f"waits in Slurm: {watched.waits_for}" if watched.waits_for else "waits in Slurm"

    def _task_id(self, watched: Watched) -> str:
        """Slurm's id of its task; empty while it has none, or nobody knows."""
        place, array = watched.place, self._watching.array_of(watched)
        if place is None or array is None:
            return ""
        return watching.task_id(array, place) or ""

    def _hurry(self) -> None:
        self._looking.hurry()

    def _look(self) -> None:
        self._looking.wake()

    def _find_places(
        self, recovered: Sequence[Watched]
    ) -> tuple[Sequence[tuple[Watched, places.Place | None]], Sequence[Watched]]:
        found, unread = [], []
        for each in recovered:
            try:
                found.append((each, self._find_place(each)))
            except OSError as error:  # it says nothing for the moment
                unread.append(each)
                _log.warning("engine.no_place", attempt=each.name, error=str(error))
        return found, unread

    def _find_place(self, recovered: Watched) -> places.Place | None:
        return array_folder.find_place(
            recovered.folder, recovered.name, arrays_dir=self._arrays_dir, prefix=self._prefix
        )

    async def _end_unsent(self, unsent: Sequence[Watched]) -> None:
        """Put on record, then tell, that these were cancelled before Slurm had them."""
        await asyncio.to_thread(_record_cancelled, unsent)
        for watched in unsent:
            # What was here before, or could not be barred, is accounted for like any other.
            if self._watching.is_current(watched):
                self._watching.put(watched, None)
        self._look()


def _record_cancelled(unsent: Sequence[Watched]) -> None:
    for watched in unsent:
        with contextlib.suppress(OSError):  # it is barred, and told, when the disk lets us
            records.write_cancelled(watched.folder, watched.name)
