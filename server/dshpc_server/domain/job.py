"""The words and values of jobs: statuses, outcomes, what a job is and what it needs.

The words are those of the contract (`protos/dshpc/v1/types.proto`) without their prefix; the same
words stand in the database and in the log.
"""

import dataclasses
import enum
from collections.abc import Mapping


class JobStatus(enum.StrEnum):
    """Where a job stands; Slurm's words in their long form."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    PREEMPTED = "PREEMPTED"
    BLOCKED = "BLOCKED"
    SKIPPED = "SKIPPED"


class Outcome(enum.StrEnum):
    """What was decided about a row when it was looked up; set once."""

    FOUND_COMPLETED = "FOUND_COMPLETED"
    FOUND_IN_PROGRESS = "FOUND_IN_PROGRESS"
    SUBMITTED = "SUBMITTED"
    RESUBMITTED = "RESUBMITTED"
    FAILURE_KEPT = "FAILURE_KEPT"
    REJECTED = "REJECTED"
    NOT_FOUND = "NOT_FOUND"
    WITHHELD = "WITHHELD"
    PENDING = "PENDING"


IN_PROGRESS = frozenset(
    {
        JobStatus.PENDING,
        JobStatus.CONFIGURING,
        JobStatus.RUNNING,
        JobStatus.SUSPENDED,
        JobStatus.COMPLETING,
        JobStatus.BLOCKED,
    }
)
FAILED = frozenset(
    {
        JobStatus.FAILED,
        JobStatus.TIMEOUT,
        JobStatus.NODE_FAIL,
        JobStatus.OUT_OF_MEMORY,
        JobStatus.BOOT_FAIL,
        JobStatus.DEADLINE,
        JobStatus.PREEMPTED,
    }
)
TERMINAL = frozenset(JobStatus) - IN_PROGRESS
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a job needs while it runs; admission and limits go by it."""

    cpus: int = 1
    """Processor cores, at least 1."""
    memory_bytes: int = 0
    """Memory of all its processes together; 0 = not limited."""
    gpus: int = 0


class Basis(enum.StrEnum):
    """Where an expected run time comes from."""

    DECLARED = "DECLARED"
    """The method's manifest says so (`expected_seconds`)."""
    OBSERVED = "OBSERVED"
    """Earlier runs of the same version took so long."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunTime:
    """How long a job is expected to run."""

    seconds: float
    basis: Basis


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Packing:
    """An attempt that shared one task of a scheduler with others, which ran one after the other."""

    jobs: int
    """How many shared it, at least 2."""
    basis: Basis
    """Why they were taken for short."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an attempt used; None where nobody saw it."""

    cpu_seconds: float | None = None
    """Processor time of all its processes that were waited for."""
    peak_memory_bytes: int | None = None
    """The most memory that was seen in use."""
    queue_seconds: float | None = None
    """How long it waited in the engine's own queue."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """What is run: everything that goes into the identity, and the method's name.

    Two equal identities may carry different method names (two manifests over the same code); the
    job keeps the name it was first submitted with.
    """

    job_id: str
    """Lower-case hex SHA-256; see `domain.identity`."""
    method_name: str
    function_hash: str
    inputs: Mapping[str, str]
    """Content hash by input name."""
    parameters_json: str
    """Canonical JSON (RFC 8785) of the parameters, the method's defaults filled in."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AttemptKey:
    """Names one run of a job. The number is the fencing token: a report for another is dropped."""

    job_id: str
    number: int
    """From 1."""
