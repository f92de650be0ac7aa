"""The port by which a store is looked over: which rules it breaks, and what it holds, in pages.

A look changes nothing, and may be taken while servers use the store. Every answer is of one state
of the store, each of another one; an answer is small, whatever the store holds, but for the
breaches of a rule that is broken often.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from dshpc_server import errors
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import port

Which = tuple[tuple[str, str | int], ...]
"""What something is about: kind and name of each part, as (("job", JOB_ID), ("attempt", 2))."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Something that always holds."""

    name: str
    broken: str
    """What is wrong where it does not hold, for people."""
    is_note: bool = False
    """It may be broken for a while, or by a crash, and nothing is lost by it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoreCounts:
    """How much there is."""

    jobs: int
    attempts: int
    batches: int
    rows: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredJob:
    """A job's identity as it is stored, not looked into."""

    job_id: str
    function_hash: str
    inputs: str
    """What should be a JSON object: content hash by input name."""
    parameters_json: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredResult:
    """What is kept of an attempt that has ended."""

    key: AttemptKey
    status: str
    result: bytes
    output_hash: str
    output_size_bytes: int
    output_is_inline: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredBatch:
    """How many rows of a batch are alike: by outcome and by the status of what they show."""

    batch_id: str
    row_count: int
    rows: Sequence[tuple[str, str | None, int]]
    """Outcome, status, how many."""
    kept_rows: Sequence[tuple[str, str | None, int]] | None = None
    """The same, as it was when its last row had ended; None where that is not kept."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """What the records say of content."""

    file_hash: str
    size_bytes: int
    is_deleting: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActiveJob:
    """An attempt that has not ended, and what it needs."""

    key: AttemptKey
    status: str
    method_name: str
    function_hash: str
    inputs: str
    """See `StoredJob`."""


class UnreadableError(errors.DshpcError):
    """What is stored cannot be read: the database is damaged there. What there is is not told."""


class Inspection(port.Deployed, Protocol):
    """Questions about everything there is. Pages are in the order of the ids, after one of them.

    Every one raises UnreadableError where the database is damaged.
    """

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that the store can look after itself, by name."""
        ...

    def breaches(self, name: str) -> Sequence[Which]:
        """What breaks this rule now."""
        ...

    def count(self) -> StoreCounts:
        """How much there is."""
        ...

    def job_ids(self, after: str, limit: int) -> Sequence[str]:
        """Ids of jobs."""
        ...

    def jobs(self, job_ids: Collection[str]) -> Sequence[StoredJob]:
        """These jobs."""
        ...

    def results(self, job_ids: Collection[str]) -> Sequence[StoredResult]:
        """What is kept of the ended attempts of these jobs."""
        ...

    def batch_ids(self, after: str, limit: int) -> Sequence[str]:
        """Ids of batches."""
        ...

    def batches(self, batch_ids: Collection[str]) -> Sequence[StoredBatch]:
        """These batches."""
        ...

    def file_hashes(self, after: str, limit: int) -> Sequence[str]:
        """Hashes of recorded content."""
        ...

    def files(self, file_hashes: Collection[str]) -> Mapping[str, StoredFile]:
        """What is recorded of these."""
        ...

    def find_outputs(self, output_hashes: Collection[str]) -> set[str]:
        """Which of these some COMPLETED attempt's result holds whole."""
        ...

    def attempts(self, job_ids: Collection[str]) -> set[AttemptKey]:
        """Every attempt of these jobs."""
        ...

    def active_ids(self, after: str, limit: int) -> Sequence[str]:
        """Ids of jobs with an attempt that has not ended."""
        ...

    def active(self, job_ids: Collection[str]) -> Sequence[ActiveJob]:
        """The attempts of these jobs that have not ended."""
        ...
