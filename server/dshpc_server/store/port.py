"""The store's port: what the service remembers, asked and told in batches.

Synchronous by design: the asyncio side makes one hop to the store's thread per call
(`store.committer`), never one per job. One behaviour suite (`tests/contract/store_suite.py`) runs
over every adapter; the docstrings here are its specification.

Invariants that every adapter's schema repeats: one row per job_id; at most one attempt of a job
that has not ended; an attempt has an end time if and only if its status is terminal; status and
outcome words are those of `domain.job`.
"""

import dataclasses
import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from dshpc_server import errors
from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Outcome, Resources
from dshpc_server.domain.lifecycle import Event

T = TypeVar("T")
_USUAL_POLICY = lookup.Policy()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run of a job as it is stored."""

    key: AttemptKey
    status: JobStatus
    revision: int
    """Rises by one with every change of the job's status, over all its attempts, from 1."""
    function_hash: str
    replaced: JobStatus | None
    """How the failed attempt before it ended, that it was submitted to make good; else None."""
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    result: bytes | None
    """The encoded result, opaque to the store; present if and only if the status is terminal."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What a row wants to have run, should nothing usable exist."""

    spec: JobSpec
    resources: Resources
    timeout_seconds: float
    policy: lookup.Policy = _USUAL_POLICY


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewRow:
    """One row of a batch that is to be accepted: a candidate, a rejection, or both.

    Both: the job may be known, but cannot be run now. The row is rejected only if it takes a run.
    """

    index: int
    """Position in the request, from 0; unique in the batch."""
    head: bytes
    """The part of the row's answer that never changes, encoded; opaque to the store."""
    candidate: Candidate | None
    rejection: bytes | None
    """Why the row names no job, encoded; opaque to the store."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewBatch:
    """A batch that is to be accepted."""

    batch_id: str
    display_name: str
    created_at: datetime.datetime
    rows: Sequence[NewRow]
    file_hashes: Collection[str]
    """Files and outputs the batch uses; their last-used time is touched."""
    lost_outputs: Collection[str] = frozenset()
    """Outputs whose content is gone from the content store: who has one of them has no answer."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a stored batch, with the attempt it speaks of as that stands now.

    A row is tied to one attempt: when another batch has the job run again later, this row goes on
    showing the attempt that answered it.
    """

    index: int
    head: bytes
    outcome: Outcome
    old_status: JobStatus | None
    """How the earlier attempt ended: always for RESUBMITTED and FAILURE_KEPT, and for
    FOUND_IN_PROGRESS when what is in progress was resubmitted; else None."""
    kept: lookup.Kept | None
    """Why an earlier failure is the answer; given if and only if the outcome is FAILURE_KEPT."""
    attempt: Attempt | None
    """None if and only if the row names no job: REJECTED or NOT_FOUND."""
    rejection: bytes | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An attempt taken from the queue, with everything needed to launch it."""

    key: AttemptKey
    spec: JobSpec
    resources: Resources
    timeout_seconds: float
    created_at: datetime.datetime
    revision: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActiveAttempt:
    """An attempt that was claimed and has not ended, as recovery finds it."""

    claim: Claim
    status: JobStatus
    started_at: datetime.datetime | None
    cancel_reason: str | None
    """Why it is to be stopped; None when it is not."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What is kept of an attempt that has ended."""

    result: bytes
    """The encoded result, opaque to the store."""
    exit_code: int | None
    signal: int | None
    output_hash: str
    """Empty when there is no output."""
    output_size_bytes: int
    output_is_inline: bool
    """Whether the result holds the whole output; else it is in the content store, or there is
    none."""
    reason: str
    """Why it ended as it did, for people; empty for COMPLETED."""
    stderr_tail: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Something that happened to an attempt."""

    key: AttemptKey
    event: Event
    at: datetime.datetime
    engine_job_id: str = ""
    """The engine's name for the attempt; kept when not empty."""
    node: str = ""
    """The host; kept when not empty."""
    started_at: datetime.datetime | None = None
    """Kept when given and none is stored yet (a start that was never reported on its own)."""
    ending: Ending | None = None
    """Given if and only if the event leads to a terminal status."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One run of a job with everything that is known of it."""

    attempt: Attempt
    ending: Ending | None
    """None before its end."""
    engine_job_id: str
    node: str
    cancel_reason: str | None
    """Why it was asked to stop; None when it was not."""
    index: int = 0
    """Its row's index in the batch that submitted it; see `ListPosition`."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """One job with its attempts."""

    spec: JobSpec
    newest: AttemptRecord
    attempts: Sequence[AttemptRecord]
    """The oldest first; empty where jobs are listed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ListPosition:
    """Where a listing stands: after this one, the newest first."""

    at: datetime.datetime
    name: str
    """The job_id or file_hash; it orders what is of one moment."""
    index: int = 0
    """Of a job: its row's index in the batch that its newest attempt is of."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """The labels of a stored file. That its content is there is the content store's word.

    Every output in the content store has one, too, without labels.
    """

    file_hash: str
    size_bytes: int
    filename: str
    media_type: str
    created_at: datetime.datetime
    last_used_at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Commit(Generic[T]):
    """What one transaction answered and changed."""

    answers: Sequence[T | Exception]
    """One for each work, in order: what it returned, or the exception it raised."""
    changes: Sequence[Attempt]
    """Every attempt that was made or moved, as it was after each change, in order."""


class StoreInUseError(errors.DshpcError):
    """Another server holds this store; it is for one server only."""

    def __init__(self, store: str) -> None:
        super().__init__(f"{store} is in use by another server")
        self.store = store


class StoreUnusableError(errors.DshpcError):
    """What is there is damaged, of a newer version, or no store of this service. Left as it was."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store} cannot be used as a store: {reason}")
        self.store = store
        self.reason = reason


class Reader(Protocol):
    """Questions. Safe from any thread, also while a write is going on; each sees one state."""

    def find_attempts(self, job_ids: Collection[str]) -> Mapping[str, Attempt]:
        """The newest attempt of each of these jobs; unknown ones are left out."""
        ...

    def preview(self, batch: NewBatch) -> Sequence[Row]:
        """What `Writer.accept` would answer now; nothing is stored."""
        ...

    def find_job(self, job_id: str) -> JobRecord | None:
        """One job with its attempts."""
        ...

    def find_jobs(
        self,
        *,
        after: ListPosition | None,
        limit: int,
        statuses: Collection[JobStatus] = (),
        method_name: str = "",
    ) -> Sequence[JobRecord]:
        """At most `limit` jobs by (time, index, job_id) of their newest attempt, the newest first.

        `after` is the position of the last one seen; None begins. The status is that of the
        newest attempt. Empty filters let all pass. `attempts` of what is returned is empty.
        """
        ...

    def find_kept_outputs(self, job_ids: Collection[str]) -> set[str]:
        """Outputs in the content store that a look-up of these jobs would answer with."""
        ...

    def has_batch(self, batch_id: str) -> bool:
        """Whether this batch was accepted."""
        ...

    def find_rows(
        self,
        batch_id: str,
        *,
        first_index: int,
        limit: int,
        statuses: Collection[JobStatus] = (),
        outcomes: Collection[Outcome] = (),
    ) -> Sequence[Row]:
        """At most `limit` rows from `first_index` on, by index. Empty filters let all pass.

        A row without a job has no status, so a filter on statuses leaves it out.
        """
        ...

    def find_active(self) -> Sequence[ActiveAttempt]:
        """Every attempt that was claimed and has not ended, oldest first."""
        ...

    def find_output(self, output_hash: str) -> Attempt | None:
        """Some COMPLETED attempt whose result holds this output whole; None when there is none."""
        ...

    def find_outputs(self, output_hashes: Collection[str]) -> set[str]:
        """Which of these some COMPLETED attempt's result holds whole."""
        ...

    def find_file(self, file_hash: str) -> FileRecord | None:
        """The labels of a file."""
        ...

    def find_files(self, *, after: ListPosition | None, limit: int) -> Sequence[FileRecord]:
        """At most `limit` files by (created_at, file_hash), the newest first; see `find_jobs`."""
        ...


class Writer(Protocol):
    """Changes, inside the one transaction of `Store.write`."""

    def accept(self, batch: NewBatch) -> Sequence[Row]:
        """Look every row up, decide it (`domain.lookup`), and store batch, rows and new attempts.

        Rows are decided in order, each seeing what those before it did: of two rows with one
        job_id the second finds the first's attempt. A job's *answering* attempt is the one that
        look-ups find: the newest, but that a COMPLETED one with its output goes on answering until
        a newer one has COMPLETED, and that one submitted by BYPASS never answers - unless a row
        with another policy came to wait for it, which makes it an ordinary one. A job has at most
        one attempt in progress, so every row whose decision would be to submit waits for that one
        if there is one. What counts as a failure towards `max_attempts` is an ordinary attempt
        that ended in one of `job.FAILED`, was created within `lookup.ATTEMPT_WINDOW` before the
        batch, and is not older than the job's last REFRESH. New attempts are PENDING and queue by
        (batch time, index). Two servers that accept one new job at one instant store one
        attempt; both are told of it. Returns the rows in the order given. A batch_id that exists
        is an error (`ValueError`), and nothing is stored.
        """
        ...

    def claim(self, fits: Callable[[Resources], bool], limit: int) -> Sequence[Claim]:
        """Take PENDING attempts from the head of the queue and make them CONFIGURING.

        `fits` is asked once per attempt in queue order and keeps count of what it granted; the
        first that does not fit ends the claim, so that a large job is not overtaken for ever. At
        most `limit` are taken.
        """
        ...

    def record(self, reports: Sequence[Report]) -> Sequence[Attempt]:
        """Apply reports in order by the lifecycle table.

        A report for another attempt than the newest, or one the table does not let through, is
        dropped without effect: late and repeated reports are harmless. Returns the attempts that
        changed, as they are after each change. An output in the content store gets its file
        record in the same transaction.
        """
        ...

    def cancel(
        self, job_ids: Collection[str], reason: str, end: Callable[[Attempt], Ending]
    ) -> Sequence[Attempt]:
        """Have the attempts in progress of these jobs stopped.

        Those not claimed yet (PENDING, BLOCKED) are CANCELLED, with what `end` makes of them; it is
        handed them as they are to be, their `ended_at` set. Of the others the reason is kept, so
        that a restart does not forget it; the first one given counts. Ended and unknown ones are
        passed over. Returns the newest attempts as they are now, in the order of the job_ids.
        """
        ...

    def put_file(self, record: FileRecord) -> FileRecord:
        """Remember a file's labels; for a known hash keep the old ones and touch last_used_at.

        Where the old ones are empty (an output that is uploaded, too) the new ones are taken.
        """
        ...

    def delete_file(self, file_hash: str, without_output: Callable[[bytes], bytes]) -> bool:
        """Forget a file, and take it out of the results that hold it as their output.

        Such results become what `without_output` makes of them; their jobs have no answer any
        more. Answers whether anything was known of it. Raises `errors.InUseError`, and nothing is
        changed, while a job with an attempt in progress has it as an input.
        """
        ...


class Store(Reader, Protocol):
    """What the service remembers."""

    @property
    def name(self) -> str:
        """The kind of store, as GetServerInfo tells it."""
        ...

    def write(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """Run every work in one transaction and commit; return their answers and changes.

        When this returns, the effects of every work that answered are durable. A work that
        raises leaves no trace and its exception stands in its place; the others are not touched.
        A work lets the store's own errors through: they end the transaction, for all.
        When the commit itself fails, this raises (`errors.UnavailableError`) and nothing was
        stored. Never called from two threads at one time.
        """
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...
