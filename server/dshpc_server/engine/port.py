"""The engine's port: start many, stop many, tell facts.

An engine reports *facts* in its own words (started, exited, lost); `domain.lifecycle` and
`batches.reconciler` turn facts into statuses. An engine that does not know says nothing: "unknown"
is never "absent". One behaviour suite (`tests/contract/engine_suite.py`) runs over every adapter,
the scripted fake included; the docstrings here are its specification.
"""

import dataclasses
import datetime
import enum
import pathlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from dshpc_server.domain.job import AttemptKey, Packing, Resources, RunTime, Usage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Everything an engine needs to run one attempt (execution contract 1).

    The command is `command script input_path params_path`; the working directory is `method_dir`;
    stdin is closed; the process leads its own session. The engine creates `folder` and in it
    `params.json`, `workspace/` (with `tmp/`), `stdout` and `stderr`. The workspace is scratch: once
    the end is told an engine may have taken it back.
    """

    key: AttemptKey
    folder: pathlib.Path
    """The attempt's own directory; nothing else ever writes there."""
    command: Sequence[str]
    """The manifest's command, split into words."""
    script: pathlib.Path
    """Absolute path of the script inside `method_dir`."""
    method_dir: pathlib.Path
    """The read-only snapshot of the method."""
    method_name: str
    inputs: Mapping[str, pathlib.Path]
    """Path of each input by its name, in the manifest's order; the first is INPUT_PATH."""
    parameters_json: str
    resources: Resources
    timeout_seconds: float
    run_time: RunTime | None = None
    """How long it is expected to run; None when nobody knows."""
    priority: int = 0
    """From -100 to 100; a higher one goes first where the engine has a queue of its own."""


class Cause(enum.StrEnum):
    """Why the engine, or the scheduler that it uses, ended a process."""

    NONE = "NONE"
    """It did not: the process ended by itself (or somebody else killed it)."""
    OVER_TIME = "OVER_TIME"
    OVER_MEMORY = "OVER_MEMORY"
    CANCELLED = "CANCELLED"
    """By `cancel_many`, or by somebody who told the scheduler so; then `note` says who."""
    PREEMPTED = "PREEMPTED"
    """The scheduler needed its room for others."""
    PAST_DEADLINE = "PAST_DEADLINE"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The method's process exists."""

    key: AttemptKey
    at: datetime.datetime
    engine_job_id: str
    """The engine's own name for the attempt: the local engine's process id, Slurm's job id."""
    node: str
    packing: Packing | None = None
    """How it shares a task of the scheduler with others; None when it has one for itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Suspended:
    """The scheduler has stopped a process that it will let go on."""

    key: AttemptKey
    at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """A suspended process goes on."""

    key: AttemptKey
    at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """The method's process and everything it started are gone, and the exit is on record.

    Exactly one of exit_code and signal is set. `stdout` and `stderr` are complete and will not
    change any more.
    """

    key: AttemptKey
    at: datetime.datetime
    started_at: datetime.datetime
    engine_job_id: str
    node: str
    exit_code: int | None
    signal: int | None
    cause: Cause
    stdout: pathlib.Path
    stderr: pathlib.Path
    usage: Usage = Usage()  # noqa: RUF009 - frozen
    packing: Packing | None = None
    """As in `Started`."""
    note: str = ""
    """What the scheduler says of the end, for people; empty when there is nothing to add."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NotStarted:
    """The process could not be started (no such command, no room on disk); it never ran."""

    key: AttemptKey
    at: datetime.datetime
    reason: str
    is_permanent: bool = False
    """Trying again cannot help: no such command, the method's version is gone."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """The process is gone, or was never there, and no exit is on record.

    Nothing of it runs - but for a process on a node that its scheduler gave up, which nobody can
    reach: whatever that one leaves later, in the attempt's folder alone, counts for nothing.
    """

    key: AttemptKey
    at: datetime.datetime
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What is known of an attempt that does not run yet."""

    why: str = ""
    """Why not, for people; empty when nobody knows."""
    engine_job_id: str = ""
    """As in `Started`, where the engine's own queue has given it one; empty until it is known."""


Fact = Started | Suspended | Resumed | Exited | NotStarted | Lost
Report = Callable[[Sequence[Fact]], Awaitable[None]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What there is for jobs."""

    cpus: int
    """All there is, together; so of memory and GPUs."""
    memory_bytes: int
    gpus: int
    nodes: Sequence[Resources] | None = None
    """What one job may use: it has to fit into one of these. None: that is all there is."""
    longest_seconds: float | None = None
    """The longest that a job may run; None = no limit."""
    queued_jobs: int | None = None
    """Most attempts that are taken at a time, whatever they need: the engine has a queue of its
    own. None: it has none, and is given no more than fits at one time."""
    packs_below_seconds: float = 0.0
    """It runs attempts together that are expected to be shorter, and much faster: so it is worth
    knowing how long they take before many are handed over. 0 = it does not."""


class Engine(Protocol):
    """Runs attempts and tells how they went."""

    @property
    def name(self) -> str:
        """The kind of engine, as GetServerInfo and Job.engine tell it."""
        ...

    @property
    def scope(self) -> str:
        """Where its attempts can be accounted for.

        A server whose engine has the same scope may take over the attempts of a dead one.
        """
        ...

    def capacity(self) -> Capacity:
        """What there is. Admission is the caller's.

        What is not known yet (a scheduler that has not answered) is told as boundless.
        """
        ...

    def healthy(self) -> bool:
        """Whether attempts can be submitted now; told as health of `dshpc.engine`."""
        ...

    def waiting(self, key: AttemptKey) -> Waiting:
        """What is known of an attempt that was submitted here and does not run yet.

        Of one whose start is being told it may still say the id. Answered from what is known: it
        asks nobody. Any thread may call it.
        """
        ...

    async def run(self, report: Report) -> None:
        """Serve until cancelled: deliver every fact through `report`, in order per attempt.

        `report` is awaited, one call at a time; what it takes may be recorded later. So an engine
        keeps its record of an end for as long as the attempt's folder is there, and `recover`
        tells it again: a fact may come twice after a crash, never not at all. Cancelling ends the
        delivery and leaves attempts running.
        """
        ...

    async def submit_many(self, launches: Sequence[Launch]) -> None:
        """Start these attempts. Returns when they are handed over; their fate comes as facts.

        Each is started at most once, however often it is submitted: an attempt that is running or
        has an exit on record is not started again.
        """
        ...

    async def cancel_many(self, keys: Sequence[AttemptKey]) -> None:
        """Stop these attempts with everything they started; the end comes as a fact.

        Those that are not watched (never submitted or recovered here, ended, forgotten) are passed
        over.
        """
        ...

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        """Take up attempts by key and folder: an earlier server's, another's, or one's own again.

        Those still running are watched; those with an exit on record are reported Exited; those
        that cannot be accounted for have what is left of them stopped and are reported Lost. One
        that was never started is Lost, too, and is not started any more, even if a server that
        was slow submits it after that. Methods may have written to their folders: what is no
        whole and true record of this very attempt is none.

        Nothing happens for attempts that are watched already. Several servers of one scope may do
        this for the same attempts, and while their submitter lives: all of them are told.
        """
        ...

    async def forget(self, keys: Sequence[AttemptKey]) -> None:
        """Stop watching these attempts without touching what runs; somebody else owns them now.

        Nothing is told of them any more, except by a report that is being made. `recover` and
        `submit_many` take them up anew.
        """
        ...
