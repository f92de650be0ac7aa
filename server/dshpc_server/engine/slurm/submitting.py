"""From launches to arrays in Slurm's queue.

Promises: what comes within a moment goes out together, so a large batch takes few submissions.
Everything of an array is in place before it is submitted. A submission of which nobody knows what
became of it is looked up by its name: what waits is not sent again before Slurm has answered, for
some time, that it has nothing of that name - and if it comes up after all, its tasks find that
their attempts were started, or find nothing to do.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import structlog

from dshpc_server import clock, crashing, outage
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import delivery, port
from dshpc_server.engine.slurm import (
    array_folder,
    arrays,
    cluster,
    places,
    records,
    standing,
    watching,
)
from dshpc_server.engine.slurm.watching import Watched

_QUIET_SECONDS = 0.1
"""What is followed by nothing for so long is all there is for now."""
_LONGEST_GATHERING_SECONDS = 1.0
"""Slurm takes about so long to start what it was given."""
_RETRY_SECONDS = 2.0
"""Until what could not be submitted is tried again."""
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """How arrays are made and named."""

    arrays_dir: pathlib.Path
    script: pathlib.Path
    prefix: str
    """Begins the names of this deployment's arrays."""
    new_id: Callable[[], str]
    """What makes a name unique: another word each time."""
    environment: Mapping[str, str]
    """The server's."""
    policy: arrays.Policy


class Submitting:
    """The launches that wait to be submitted. For the event loop's thread alone."""

    def __init__(
        self,
        *,
        cluster: cluster.Cluster,
        watching: watching.Watching,
        standing: standing.Standing,
        delivery: delivery.Delivery[Watched],
        sending: Sending,
        on_submitted: Callable[[], None],
        clock: clock.Clock,
    ) -> None:
        """`on_submitted` is told when an array was sent, whatever became of it."""
        self._cluster = cluster
        self._watching = watching
        self._standing = standing
        self._delivery = delivery
        self._sending = sending
        self._on_submitted = on_submitted
        self._clock = clock
        self._outage = outage.Outage(clock, begins="engine.not_submitted", ends="engine.submits")
        self._waiting: dict[str, Watched] = {}
        """By name, in their order."""
        self._news = asyncio.Event()
        self._most_tasks: int | None = None
        """Of an array, after larger ones were refused; None while none was."""

    def add(self, watched: Watched) -> None:
        """Submit this attempt, which has a launch."""
        self._waiting[watched.name] = watched
        self._news.set()

    def remove(self, watched: Watched) -> bool:
        """Submit it no more; whether it still waited here."""
        return self._waiting.pop(watched.name, None) is not None

    def is_waiting(self, watched: Watched) -> bool:
        """Whether it was not sent yet."""
        return watched.name in self._waiting

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._gather()
            await self._standing.until_answering()
            try:
                await self._submit_all()
                self._outage.works()
            except (OSError, _NotNowError) as error:
                self._outage.failed(str(error), waiting=len(self._waiting))
                await asyncio.sleep(_RETRY_SECONDS)
                self._news.set()

    async def _gather(self) -> None:
        """Wait until something waits and nothing more comes."""
        await self._news.wait()
        give_up_at = self._clock.monotonic() + _LONGEST_GATHERING_SECONDS
        while self._news.is_set() and self._clock.monotonic() < give_up_at:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_QUIET_SECONDS):
                    await self._news.wait()

    async def _submit_all(self) -> None:
        taken = [one for one in self._waiting.values() if one.launch is not None]
        sorted_out = await asyncio.to_thread(_sort_out, taken, self._sending)
        for watched, place in sorted_out.seen:
            # It was here before: what became of it is looked up, whoever sent it.
            if self.remove(watched):
                self._watching.put(watched, place)
        if sorted_out.seen:
            self._on_submitted()
        self._refuse_unfit(sorted_out)
        launches = {one.name: one for one in sorted_out.new if self.is_waiting(one)}
        by_key = {one.key: one for one in launches.values()}
        wanted = [one.launch for one in launches.values() if one.launch is not None]
        room = self._standing.room()
        if self._most_tasks is not None:
            most = min(room.max_array_tasks, self._most_tasks)
            room = dataclasses.replace(room, max_array_tasks=most)
        for plan in arrays.plan(wanted, self._sending.policy, room):
            await self._submit(plan, by_key)
            if self._most_tasks is not None:  # the next one may be larger
                self._news.set()
                return

    async def _submit(self, plan: arrays.Plan, by_key: Mapping[AttemptKey, Watched]) -> None:
        """Put one array in place, and submit it."""
        tasks = [
            [launch for launch in task if self._is_wanted(by_key[launch.key])]
            for task in plan.tasks
        ]
        plan = dataclasses.replace(plan, tasks=[task for task in tasks if task])
        if not plan.tasks:
            return
        name = f"{self._sending.prefix}{self._sending.new_id()}"
        folder = array_folder.ArrayFolder(self._sending.arrays_dir, name)
        try:
            placed = await asyncio.to_thread(
                folder.fill, plan.tasks, self._sending.environment, at=self._clock.now()
            )
        except array_folder.InTheWayError as error:
            await asyncio.to_thread(folder.remove)
            if self.remove(by_key[error.key]):
                self._refuse(by_key[error.key], str(error), is_permanent=False)
            self._news.set()
            return
        except OSError:  # a full disk, perhaps: what is there of it would be left each time
            await asyncio.to_thread(folder.remove)
            raise
        array = None
        for each in placed:
            watched = by_key[each.launch.key]
            if self._watching.is_current(watched) and self.remove(watched):
                array = self._watching.enter(watched, each.place)
                if watched.is_cancelled:  # while it was being put in place
                    folder.mark_cancelled(each.place)
        if array is None:
            await asyncio.to_thread(folder.remove)
            return
        array.is_being_sent = True
        try:
            await self._send(plan, array)
        finally:
            array.is_being_sent = False
            self._on_submitted()

    async def _send(self, plan: arrays.Plan, array: watching.WatchedArray) -> None:
        folder, shape = array.folder, plan.shape
        crashing.point("array.in_place")
        try:
            job_id = await self._cluster.submit(
                cluster.Array(
                    name=folder.name,
                    script=self._sending.script,
                    folder=folder.path,
                    tasks=len(plan.tasks),
                    parallel=plan.parallel,
                    cpus=shape.cpus,
                    memory_bytes=plan.memory_bytes,
                    gpus=shape.gpus,
                    minutes=plan.minutes,
                    nice=plan.nice,
                    is_watched_late=shape.is_watched_late,
                )
            )
        except cluster.RefusedError as error:
            await self._take_back(plan, array, error)
            return
        except (cluster.UnknownOutcomeError, cluster.UnreachableError) as error:
            _log.warning("engine.unknown_submission", array=folder.name, why=str(error))
            return
        if self._most_tasks is not None:
            more = 2 * self._most_tasks
            self._most_tasks = more if more < self._standing.room().max_array_tasks else None
        crashing.point("array.submitted")
        jobs = sum(map(len, plan.tasks))
        _log.info(
            "engine.submitted",
            array=folder.name,
            slurm_job_id=job_id,
            tasks=len(plan.tasks),
            jobs=jobs,
        )
        await self.accepted(array, job_id)

    async def accepted(self, array: watching.WatchedArray, job_id: str) -> None:
        """Take note that Slurm has an array, under this id."""
        array.job_id, array.accepted_at = job_id, self._clock.now()
        for watched in array.live.values():
            watched.launch = None
        try:
            await asyncio.to_thread(array.folder.keep_job_id, job_id)
        except OSError as error:  # it is found by its name as well
            _log.warning("engine.no_job_id", array=array.folder.name, error=error.strerror)
        crashing.point("array.recorded")

    def send_again(self, array: watching.WatchedArray) -> None:
        """Submit anew what is in an array that never came to be."""
        for watched in list(array.live.values()):
            if watched.launch is not None:
                self._watching.leave(watched)
                watched.place = None
                self.add(watched)

    async def _take_back(
        self, plan: arrays.Plan, array: watching.WatchedArray, error: cluster.RefusedError
    ) -> None:
        live = list(array.live.values())
        for watched in live:
            self._watching.leave(watched)
            watched.place = None
            if error.is_permanent:
                self._refuse(watched, f"Slurm refuses it: {error.reason}", is_permanent=True)
            else:
                self.add(watched)
        await asyncio.to_thread(array.folder.remove)
        if not error.is_permanent:
            if error.is_too_large:
                self._most_tasks = max(1, len(plan.tasks) // 2)
            raise _NotNowError(error.reason)
        _log.warning("engine.refused", why=error.reason, jobs=len(live))

    def _refuse_unfit(self, sorted_out: "_SortedOut") -> None:
        """Refuse what cannot be written down, and what no node can run.

        That is known of what was handed over before the cluster had answered.
        """
        unfit = list(sorted_out.unfit)
        for one in sorted_out.new:
            never = self._standing.why_never(one.launch.resources) if one.launch else None
            if never is not None:
                unfit.append((one, never))
        for watched, why in unfit:
            if self.remove(watched):
                self._refuse(watched, why, is_permanent=True)

    def _refuse(self, watched: Watched, why: str, *, is_permanent: bool) -> None:
        watched.has_ended = True
        self._delivery.tell(
            watched,
            port.NotStarted(
                key=watched.key, at=self._clock.now(), reason=why, is_permanent=is_permanent
            ),
        )

    def _is_wanted(self, watched: Watched) -> bool:
        return self.is_waiting(watched) and self._watching.is_current(watched)


class _NotNowError(Exception):
    """What waits cannot be submitted for the moment."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _SortedOut:
    new: Sequence[Watched]
    seen: Sequence[tuple[Watched, places.Place | None]]
    """Those that were here before, and where they were put."""
    unfit: Sequence[tuple[Watched, str]]
    """Those that cannot be written down, and why."""


def _sort_out(taken: Sequence[Watched], sending: Sending) -> _SortedOut:
    new, unfit = [], []
    seen: list[tuple[Watched, places.Place | None]] = []
    for watched in taken:
        why = array_folder.problem(watched.launch, sending.environment) if watched.launch else None
        if why is not None:
            unfit.append((watched, why))
        elif watched.is_cancelled and records.write_cancelled(watched.folder, watched.name):
            seen.append((watched, None))  # it was refused, or never arrived, and is wanted no more
        elif records.is_new(watched.folder):
            new.append(watched)
        else:
            place = array_folder.find_place(
                watched.folder, watched.name, arrays_dir=sending.arrays_dir, prefix=sending.prefix
            )
            seen.append((watched, place))
    return _SortedOut(new=new, seen=seen, unfit=unfit)
