"""The fake controller's records: arrays of tasks (a single job is an array of one), and their book.

As in Slurm, a task that waits has no number of its own; it gets one as it starts, and the last
one to start takes the array's.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from support import fake_slurm_words as words_

ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    }
)
PENDING, RUNNING, SUSPENDED, COMPLETING = "PENDING", "RUNNING", "SUSPENDED", "COMPLETING"


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Task:
    """One task: where it stands, and the process that it runs as."""

    array: "Array"
    index: int | None
    """None for a single job, and for the record of waiting tasks that were cancelled."""
    number: int
    state: str = PENDING
    reason: str = "None"
    """Of one that waits, its array's is told instead."""
    node: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    pid: int | None = None
    used: tuple[float, int] = (0.0, 0)
    """Seconds of CPU time, and the most bytes that a process held."""
    ending: bool = False
    """It has the state that it ends in, but not all its processes are gone."""

    @property
    def id(self) -> str:
        """As a user writes it."""
        return str(self.array.id) if self.index is None else f"{self.array.id}_{self.index}"

    @property
    def is_ended(self) -> bool:
        """Nothing more happens to it."""
        return self.state in ENDED and not self.ending


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Array:
    """One submission: what was asked for, and its tasks."""

    id: int
    name: str
    user: str
    indexes: Sequence[int] | None
    parallel: int
    """Most tasks at a time; 0 = as many as there is room for."""
    cpus: int
    megabytes: int
    gpus: int
    minutes: int | None
    nice: int
    partition: str
    submitted_at: float
    folder: pathlib.Path
    script: pathlib.Path
    """The copy made at submission."""
    arguments: Sequence[str]
    environment: Mapping[str, str]
    stdin: str
    stdout: str
    stderr: str
    account: str
    qos: str
    warning: words_.Warn | None = None
    """The signal that is sent before the time limit."""
    reason: str = "None"
    """Why those that wait do."""
    is_blocked: bool = False
    """It can never run."""
    tasks: dict[int | None, Task] = dataclasses.field(init=False)
    waiting: collections.OrderedDict[int | None, Task] = dataclasses.field(init=False)
    """In the order in which they will start."""
    live: int = 0
    """How many hold a place on a node."""
    remnant: Task | None = None
    """The record that stands for the last of the waiting tasks, if they were cancelled singly."""

    def __post_init__(self) -> None:
        indexes: Sequence[int | None] = [None] if self.indexes is None else self.indexes
        self.tasks = {i: Task(array=self, index=i, number=self.id) for i in indexes}
        self.waiting = collections.OrderedDict(self.tasks)

    def records(self) -> Iterator[Task]:
        """All there is to tell."""
        yield from self.tasks.values()
        if self.remnant is not None:
            yield self.remnant

    def end_waiting(self, state: str, reason: str, at: float) -> None:
        """All that wait end in this state, each with its record."""
        for task in self.waiting.values():
            task.state, task.reason, task.ended_at = state, reason, at
        self.waiting.clear()

    def cancel_waiting(self, task: Task, at: float) -> None:
        """One task that waits ends: no record of it stays, but one for the last of its array."""
        del self.waiting[task.index]
        del self.tasks[task.index]
        if not self.waiting:
            self.remnant = Task(
                array=self,
                index=None,
                number=self.id,
                state="CANCELLED",
                reason=self.reason,
                ended_at=at,
            )


class Book:
    """Every array that the controller knows."""

    def __init__(self) -> None:
        self.arrays: dict[int, Array] = {}
        self.next_id = 1

    def new_id(self) -> int:
        """The next number; after a crash it may be one that was given before."""
        number = self.next_id
        self.next_id += 1
        return number

    def tasks(self) -> Iterator[Task]:
        """Of all arrays."""
        return itertools.chain.from_iterable(array.records() for array in self.arrays.values())

    def find(self, job_id: int, index: int | None = None) -> list[Task]:
        """The tasks of that name; those of the whole array, if there is no index."""
        array = self.arrays.get(job_id)
        if index is not None:
            task = array.tasks.get(index) if array else None
            return [] if task is None else [task]
        if array is not None:
            return list(array.records())
        # The number of one task that has started.
        return [task for task in self.tasks() if task.number == job_id]

    def named(self, word: str) -> list[Task]:
        """The tasks that a user names so: 12, 12_7 or 12_[3-5,7]."""
        job_id, indexes = words_.job(word)
        if indexes is None:
            return self.find(job_id)
        return [task for index in indexes for task in self.find(job_id, index)]

    def knows(self, array: Array) -> bool:
        """Whether it was not forgotten."""
        return self.arrays.get(array.id) is array

    def forget(self, array: Array) -> None:
        """What runs of it goes on, unknown."""
        del self.arrays[array.id]

    def forget_older(self, than: float) -> None:
        """Leave out what ended before that moment."""
        for array in list(self.arrays.values()):
            for task in [task for task in array.tasks.values() if _is_older(task, than)]:
                del array.tasks[task.index]
            if array.remnant is not None and _is_older(array.remnant, than):
                array.remnant = None
            if not array.tasks and array.remnant is None:
                self.forget(array)


def shown_state(task: Task) -> str:
    """What squeue says of it."""
    return COMPLETING if task.ending else task.state


def _is_older(task: Task, than: float) -> bool:
    return task.is_ended and task.ended_at is not None and task.ended_at < than
