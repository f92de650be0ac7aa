"""What the engine asks of a cluster: the port that `command_line` implements.

Everything is asked and told in bulk. A controller that does not answer says nothing: it raises
`UnreachableError`, and whoever asked goes by what he knew. A submission of which nobody knows what
became of it raises `UnknownOutcomeError`, and is looked up by its name before anything is sent
again. What the answers mean is decided elsewhere (`states`, `verdict`).
"""

import dataclasses
import datetime
import enum
import pathlib
from collections.abc import Collection, Sequence
from typing import Protocol

from dshpc_server import errors
from dshpc_server.domain.job import Resources


class UnreachableError(errors.DshpcError):
    """The controller did not answer, or not in form, within the time it was given."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(f"{command}: {reason}")
        self.command = command
        self.reason = reason


class RefusedError(errors.DshpcError):
    """The controller refused a submission. Nothing of it will ever run."""

    def __init__(self, reason: str, *, is_permanent: bool, is_too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_permanent = is_permanent
        """Trying the same again cannot help; else it was short of something (MaxJobCount)."""
        self.is_too_large = is_too_large
        """A smaller array may be taken now."""


class UnknownOutcomeError(errors.DshpcError):
    """A submission may have been taken or not: it timed out, or the connection broke."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """A job array as it is submitted: tasks 0 to `tasks - 1` of one shape."""

    name: str
    """The job's name, unique to this submission: the key by which it is found again."""
    script: pathlib.Path
    """The wrapper; it is given `folder` as its one argument."""
    folder: pathlib.Path
    """The array's own folder, which is each task's working directory."""
    tasks: int
    parallel: int
    """Most tasks that run at a time; 0 = as many as there is room for."""
    cpus: int
    memory_bytes: int
    """Of the whole task; 0 = the partition's default."""
    gpus: int
    minutes: int
    """The time limit, in Slurm's whole minutes."""
    nice: int
    """Not negative; more is later."""
    is_watched_late: bool = False
    """The wrappers are to look after their jobs only when Slurm tells them to, within a minute."""


class State(enum.StrEnum):
    """Slurm's states that a whole job can be in, in their long form (squeue's %T)."""

    BOOT_FAIL = "BOOT_FAIL"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"
    CONFIGURING = "CONFIGURING"
    COMPLETING = "COMPLETING"
    DEADLINE = "DEADLINE"
    FAILED = "FAILED"
    NODE_FAIL = "NODE_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PENDING = "PENDING"
    PREEMPTED = "PREEMPTED"
    RUNNING = "RUNNING"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    REQUEUED = "REQUEUED"
    RESIZING = "RESIZING"
    REVOKED = "REVOKED"
    SIGNALING = "SIGNALING"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    STAGE_OUT = "STAGE_OUT"
    STOPPED = "STOPPED"
    SUSPENDED = "SUSPENDED"
    TIMEOUT = "TIMEOUT"
    UNKNOWN = "UNKNOWN"
    """A word that this list does not have: nothing follows from it."""


REST = -1
"""The index of an array's record where Slurm does not say which tasks it is about: those that had
not started when the rest of an array was cancelled as a whole."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accounted:
    """What accounting knows of a task beside how it ended; None for what it does not."""

    cpu_seconds: float | None
    peak_memory_bytes: int | None
    ended_at: datetime.datetime | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task of an array, as the cluster tells it."""

    name: str
    """The name of the array."""
    index: int
    """From 0; or REST."""
    job_id: str
    """As Slurm writes it, as in 12_7. Ids are given again after a crash: never a key."""
    state: State
    node: str
    """Where it runs or ran; empty before that."""
    reason: str
    """Slurm's word for why it waits or failed, as in Resources; empty for None."""
    accounted: Accounted | None = None
    """None when it is not accounting that tells it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the cluster's settings say (scontrol show config)."""

    max_array_tasks: int
    """MaxArraySize: no index may reach it, so an array may have so many tasks from 0 on."""
    max_jobs: int
    """MaxJobCount: of everybody together."""
    has_accounting: bool
    has_prolog: bool = False
    """Whether something of the site's runs on the node before each task."""
    booted_at: datetime.datetime | None = None
    """When the controller was started; None when it does not say."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """What the partition has that jobs go to."""

    nodes: Sequence[Resources]
    """What each kind of node has; those that are down for the moment count, too."""
    cpus: int
    """Of all nodes together; so of memory and GPUs."""
    memory_bytes: int
    gpus: int
    longest_seconds: float | None
    """The longest time limit it allows; None = no limit."""


class Cluster(Protocol):
    """A Slurm cluster. Everything raises UnreachableError, and nothing waits for ever."""

    async def limits(self) -> Limits:
        """What the cluster's settings say now."""
        ...

    async def partition(self) -> Partition:
        """What the partition has that jobs go to."""
        ...

    async def submit(self, array: Array) -> str:
        """Submit an array and return its job id. Raises RefusedError or UnknownOutcomeError."""
        ...

    async def tasks(self, *, ended: bool) -> Sequence[Task]:
        """Every task of this user that is queued or runs; of those with `ended`, all it knows.

        One question for everything. Tasks that wait are told one by one, not as a range.
        """
        ...

    async def accounted(self, names: Collection[str]) -> Sequence[Task]:
        """What accounting knows of these arrays. Not asked where there is none."""
        ...

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Have these stopped, in one call; `12_7` is one task. Unknown and ended ones are none."""
        ...
