"""Which launches go out together: arrays of tasks of one shape, short jobs packed. Pure.

Promises: every launch is in exactly one task of one array; the jobs of a task have the same shape
and keep their order; no array is larger than the cluster allows. Jobs are packed only as far as
that leaves no processor idle that they could have had, and so that a task is not expected to run
longer than `LONGEST_PACK_SECONDS`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from dshpc_server.domain.job import Packing, Resources, RunTime
from dshpc_server.engine import port

LONGEST_PACK_SECONDS = 60.0
"""Expected run time of all the jobs of one task: what a cancelled or lost task repeats is short."""
WRAPPER_BYTES = 16 * 2**20
"""What a task is given beyond its job's memory, for the shell around it."""
NewId = Callable[[], str]
"""Gives another word each time."""
_UNEXPECTED = 10
"""A packed job that takes so many times what was expected may still fit into its task's time."""
_MOST_NICE = 100
_MINUTE_SECONDS = 60.0
_LATE_SECONDS = (120.0, 57_600.0)
"""Limits between these can do without a look in the first minute. Slurm sends no signal sooner than
65,535 s (18 h) before the limit."""
_SHORT_SECONDS = 5.0
"""What is expected to run longer is looked at from its start on: that costs it little."""
_STOPPING_SECONDS = 30.0
"""What a task has beyond its job's limit: the wrapper is to enforce that one, not Slurm."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What an administrator has set."""

    pack_below_seconds: float = 0.0
    """Jobs expected to be shorter are packed; 0 = none."""
    pack_jobs: int = 1
    """Most jobs in one task."""
    parallel: int = 0
    """Most tasks of an array that run at a time; 0 = no limit."""

    @property
    def packs_below_seconds(self) -> float:
        """What is expected to be shorter is packed; 0 = nothing is."""
        return self.pack_below_seconds if self.pack_jobs > 1 else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What the cluster allows."""

    max_array_tasks: int
    cpus: int
    """Of all its nodes together; 0 when it is not known."""
    longest_seconds: float | None
    """The longest time limit; None = no limit."""
    can_signal: bool
    """Whether a wrapper is sure to get the signal that tells it to look after its job."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What all tasks of an array have in common."""

    cpus: int
    memory_bytes: int
    """Of the job; the task is given more."""
    gpus: int
    timeout_seconds: float
    priority: int
    is_packed: bool
    is_watched_late: bool
    """Nothing asks for a look at the job in its first minute."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One array that is to be submitted."""

    shape: Shape
    tasks: Sequence[Sequence[port.Launch]]
    minutes: int
    parallel: int

    @property
    def memory_bytes(self) -> int:
        """What one task is given; 0 = the partition's default."""
        return self.shape.memory_bytes + WRAPPER_BYTES if self.shape.memory_bytes else 0

    @property
    def nice(self) -> int:
        """How far the tasks stand back: never negative, which only administrators may ask for."""
        return _MOST_NICE - max(-_MOST_NICE, min(_MOST_NICE, self.shape.priority))


def plan(launches: Sequence[port.Launch], policy: Policy, room: Room) -> Sequence[Plan]:
    """Return the arrays that these launches make, those of higher priority first."""
    by_shape: dict[Shape, list[port.Launch]] = {}
    for launch in launches:
        by_shape.setdefault(_shape(launch, policy, room), []).append(launch)
    return [
        Plan(shape=shape, tasks=tasks, minutes=_minutes(tasks, room), parallel=policy.parallel)
        for shape, alike in sorted(by_shape.items(), key=lambda item: -item[0].priority)
        for tasks in _chunks(_packed(alike, shape, policy, room), room.max_array_tasks)
    ]


def left_for_jobs(node: Resources) -> Resources:
    """What a node has for one job and the wrapper around it."""
    return dataclasses.replace(node, memory_bytes=max(0, node.memory_bytes - WRAPPER_BYTES))


def packing(task: Sequence[port.Launch]) -> Packing | None:
    """How the jobs of a task share it; None for one that has it for itself."""
    bases = [launch.run_time.basis for launch in task if launch.run_time is not None]
    return Packing(jobs=len(task), basis=bases[0]) if len(task) > 1 else None


def _shape(launch: port.Launch, policy: Policy, room: Room) -> Shape:
    expected = launch.run_time
    is_packed = expected is not None and expected.seconds < policy.packs_below_seconds
    return Shape(
        cpus=launch.resources.cpus,
        memory_bytes=launch.resources.memory_bytes,
        gpus=launch.resources.gpus,
        timeout_seconds=launch.timeout_seconds,
        priority=launch.priority,
        is_packed=is_packed,
        is_watched_late=(
            room.can_signal
            and not is_packed
            and launch.resources.memory_bytes == 0
            and _LATE_SECONDS[0] <= launch.timeout_seconds <= _LATE_SECONDS[1]
            and (expected is None or expected.seconds < _SHORT_SECONDS)
        ),
    )


def _packed(
    launches: Sequence[port.Launch], shape: Shape, policy: Policy, room: Room
) -> Sequence[Sequence[port.Launch]]:
    """The tasks that these become."""
    if not shape.is_packed:
        return [[launch] for launch in launches]
    at_a_time = max(1, room.cpus // shape.cpus)
    if policy.parallel:
        at_a_time = min(at_a_time, policy.parallel)
    most = min(policy.pack_jobs, math.ceil(len(launches) / at_a_time))
    # Each basis for itself: a task says one.
    ordered = sorted(launches, key=lambda launch: _expected(launch).basis)
    tasks: list[list[port.Launch]] = []
    seconds = 0.0
    for launch in ordered:
        expected = _expected(launch)
        is_full = (
            not tasks
            or len(tasks[-1]) >= most
            or seconds + expected.seconds > LONGEST_PACK_SECONDS
            or _expected(tasks[-1][0]).basis is not expected.basis
        )
        if is_full:
            tasks.append([])
            seconds = 0.0
        tasks[-1].append(launch)
        seconds += expected.seconds
    return tasks


def _expected(launch: port.Launch) -> RunTime:
    if launch.run_time is None:
        raise ValueError("packed, though nobody knows how long it runs")
    return launch.run_time


def _chunks(
    tasks: Sequence[Sequence[port.Launch]], limit: int
) -> Iterator[Sequence[Sequence[port.Launch]]]:
    for first in range(0, len(tasks), limit):
        yield tasks[first : first + limit]


def _minutes(tasks: Sequence[Sequence[port.Launch]], room: Room) -> int:
    """The time limit that the longest of these tasks needs, as far as the cluster allows it."""
    seconds = max(_seconds(task) for task in tasks)
    if room.longest_seconds is not None:
        seconds = min(seconds, room.longest_seconds)
        return max(1, math.floor(seconds / _MINUTE_SECONDS))
    return math.ceil(seconds / _MINUTE_SECONDS)


def _seconds(task: Sequence[port.Launch]) -> float:
    """What a task may take: one job its limit, the others what is expected, and much more."""
    others = sum(_expected(launch).seconds for launch in task[1:]) if len(task) > 1 else 0.0
    return task[0].timeout_seconds + _UNEXPECTED * others + _STOPPING_SECONDS
