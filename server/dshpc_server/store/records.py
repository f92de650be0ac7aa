"""The store's values: what is handed over its port (`store.port`), in and out.

What is encoded is opaque to the store: it keeps the bytes and gives them back.
"""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, TypeVar

from dshpc_server.domain import job, lookup, queue
from dshpc_server.domain.job import (
    AttemptKey,
    JobSpec,
    JobStatus,
    Outcome,
    Packing,
    Resources,
    Usage,
)
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.statistics import Statistics, Tally
from dshpc_server.store.undecided import Dependency, Undecided

T = TypeVar("T")
_USUAL_POLICY = lookup.Policy()
_UNKNOWN = Usage()
USUAL_AGEING = queue.Ageing()
"""That of a server that has served nobody yet."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run of a job as it is stored."""

    key: AttemptKey
    status: JobStatus
    revision: int
    """Rises by one with every change of the job's status, over all its attempts, from 1."""
    function_hash: str
    replaced: JobStatus | None
    """How the failed attempt before it ended, that it was submitted to make good; else None. A
    retry has that of the attempt it retries."""
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    result: bytes | None
    """The encoded result, opaque to the store; present if and only if the status is terminal."""
    chain: int
    """The number of the first of the attempts that follow on each other by retries; its own number
    for one that a request submitted."""
    is_retried: bool = False
    """Ended, and retried: the next attempt of the chain stands for it."""
    changed_at: int = 0
    """The stamp of its last change: microseconds since 1970 by the store's clock."""

    @property
    def retries(self) -> int:
        """How many automatic retries led to it."""
        return self.key.number - self.chain


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What a row wants to have run, should nothing usable exist."""

    spec: JobSpec
    resources: Resources
    timeout_seconds: float
    policy: lookup.Policy = _USUAL_POLICY


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewRow:
    """One row of a batch that is to be accepted: a candidate, a rejection, or both; or undecided.

    Both: the job may be known, but cannot be run now. The row is rejected only if it takes a run.
    """

    index: int
    """Position in the request, from 0; unique in the batch."""
    head: bytes
    """The part of the row's answer that never changes, encoded; opaque to the store."""
    candidate: Candidate | None
    rejection: bytes | None
    """Why the row names no job, encoded; opaque to the store."""
    priority: int | None = None
    """Its own, from -100 to 100; None: as the batch has."""
    undecided: Undecided | None = None
    """What it is to run once it can be looked up; given if and only if it waits for others."""
    dependencies: Sequence[Dependency] = ()
    """What it comes after; also of a row that is rejected, which waits for nothing."""
    config: bytes | None = None
    """What was asked for, encoded. Opaque to the store."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RequestName:
    """What a client calls a request, so that it can be asked again and nothing is done twice."""

    request_id: str
    """A UUID."""
    request_hash: str
    """A checksum of everything else that is asked."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedRequest:
    """A named request that was accepted."""

    name: RequestName
    batch_id: str


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
    priority: int = 0
    """Of rows that have none of their own, from -100 to 100."""
    request: RequestName | None = None
    """As which request it is asked for; None for one without a name."""
    max_failures: int = 0
    """Once so many of its jobs have failed the rest is to be withdrawn; 0 = never."""
    staged_rows: int = 0
    """How many rows it has beside `rows`, staged before: it is sealed, and not shown yet."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StagedPiece:
    """Some rows of a large batch that are not looked up yet."""

    batch_id: str
    number: int
    """Among the pieces of the batch, which are accepted in this order; from 0."""
    row_count: int
    rows: bytes
    """Encoded; opaque to the store."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NextPiece:
    """The first piece that a sealed batch has left."""

    batch: NewBatch
    """What the batch was sealed as, without the rows."""
    piece: StagedPiece


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StrandedBatch:
    """A batch that was staged by a server which is gone."""

    batch_id: str
    is_sealed: bool
    """It is to be accepted to its end; else nobody was promised anything."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a stored batch, with the attempt it speaks of as that stands now.

    A row is tied to one chain: it shows that attempt of it which was not retried. When another
    batch has the job run again later, this row goes on showing the chain that answered it.
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
    """None if and only if the row names no job: REJECTED, NOT_FOUND, PENDING or WITHHELD."""
    rejection: bytes | None
    ended_as: JobStatus | None = None
    """How the row ended by itself, whatever becomes of its attempt: CANCELLED when it was
    withdrawn, CANCELLED or SKIPPED when it is WITHHELD; else None."""
    ending: bytes | None = None
    """What such an end is answered with, encoded; opaque to the store."""
    changed_at: int = 0
    """The stamp of the last change of the row itself; see `Attempt.changed_at`."""

    @property
    def status(self) -> JobStatus | None:
        """Where the row stands; None for one that is REJECTED or NOT_FOUND."""
        if self.ended_as is not None:
            return self.ended_as
        if self.attempt is not None:
            return self.attempt.status
        return JobStatus.BLOCKED if self.outcome is Outcome.PENDING else None

    @property
    def state(self) -> "RowState":
        """The little that is known of it by whoever follows its batch."""
        attempt = self.attempt
        is_moved = attempt is not None and self.ended_as is None
        return RowState(
            index=self.index,
            outcome=self.outcome,
            status=self.status,
            chain=None if attempt is None else (attempt.key.job_id, attempt.chain),
            revision=0 if attempt is None else attempt.revision,
            changed_at=max(self.changed_at, attempt.changed_at if attempt and is_moved else 0),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RetriedJob:
    """What a row was to have run, as it was decided then."""

    spec: JobSpec
    resources: Resources
    timeout_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RetriableRow:
    """A row that is not COMPLETED, with what it needs to be asked for again."""

    index: int
    has_ended: bool
    """If not, it waits for others."""
    head: bytes
    priority: int | None
    """Its own; None when it has the batch's."""
    job: RetriedJob | None
    config: bytes | None
    """See `NewRow`; given if and only if it names no job."""
    dependencies: Sequence[Dependency] = ()
    """What it comes after, if it names no job."""


Chain = tuple[str, int]
"""A job and the number of the first attempt of a chain."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RowState:
    """How one row of a stored batch stands, without anything that is long."""

    index: int
    outcome: Outcome
    status: JobStatus | None
    """See `Row.status`."""
    chain: Chain | None
    """What the row is tied to; None when it names no job."""
    revision: int
    """That of the attempt that the row shows; 0 when it names no job."""
    changed_at: int
    """The stamp of its last change: of its attempt, or of the row itself."""

    @property
    def has_ended(self) -> bool:
        """Whether it can change no more."""
        return self.status is None or self.status in job.TERMINAL


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChangedRows:
    """Rows of one batch that were changed themselves, whatever became of their attempts."""

    batch_id: str
    indexes: Sequence[int]
    """Empty: whichever."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BatchRecord:
    """A stored batch, without its rows."""

    batch_id: str
    display_name: str
    created_at: datetime.datetime
    row_count: int
    priority: int
    """Of rows that have none of their own."""
    cancel_reason: str | None
    """Why it was cancelled as a whole; None when it was not."""
    tally: "BatchTally | None"
    """Kept once its last row had ended; None until somebody has seen that."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BatchTally:
    """How many rows of a batch are alike, at one moment."""

    rows: Mapping[tuple[Outcome, JobStatus | None], int]
    """How many, by outcome and `Row.status`."""
    ended_rows: int
    """How many can change no more."""
    changed_at: int
    """The latest stamp of a row; see `RowState.changed_at`."""
    ended_at: datetime.datetime
    """When the last of those ended that have: not before the batch was accepted."""

    @property
    def is_final(self) -> bool:
        """Whether no row can change any more."""
        return self.ended_rows == sum(self.rows.values())

    @property
    def statistics(self) -> Statistics:
        """Counts over the rows."""
        counted = Tally()
        for (outcome, status), rows in self.rows.items():
            counted.add(outcome, status, rows)
        return counted.snapshot()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An attempt taken from the queue, with everything needed to launch it."""

    key: AttemptKey
    spec: JobSpec
    resources: Resources
    timeout_seconds: float
    created_at: datetime.datetime
    revision: int
    chain: int
    priority: int = 0
    """The highest of those who waited for it."""

    @property
    def retries(self) -> int:
        """How many automatic retries led to it."""
        return self.key.number - self.chain


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What was taken from the queue."""

    taken: Sequence[Claim]
    next_due_seconds: float | None
    """When the next retry that is not due yet will be; None when none waits."""
    ageing: queue.Ageing
    """What the next claim is to be told of whom was served when."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerRecord:
    """A server that uses the store, or did and has not been cleared away."""

    server_id: str
    scope: str
    """Where the attempts of its engine can be accounted for."""
    joined_at: datetime.datetime
    is_expired: bool
    """It has not renewed its lease: it is dead, or stopped, or cut off; or it has left."""
    has_left: bool = False
    """It ended its lease itself, and is gone."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ActiveAttempt:
    """An attempt that was claimed and has not ended, as recovery finds it."""

    claim: Claim
    status: JobStatus
    started_at: datetime.datetime | None
    cancel_reason: str | None
    """Why it is to be stopped; None when it is not."""
    taken_from: str = ""
    """The server whose it was before it was taken over just now."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """That a batch wants its rows, or some of them, no more."""

    batch_id: str
    indexes: Collection[int] | None
    """Those of these rows that there are; None: all, and the batch itself is cancelled."""
    reason: str
    """Why, for people."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawn:
    """What became of rows that are wanted no more; each counts in one of the three."""

    cancel_requested: int
    """They have left the queue, or their run is to be stopped."""
    detached: int
    """Their run goes on for others."""
    already_terminal: int
    """They had ended, or were cancelled before."""
    to_stop: Sequence[AttemptKey]
    """What runs and is to be stopped since then."""


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

    @property
    def kept_output(self) -> str:
        """The hash of the output that is in the content store; empty when there is none."""
        return "" if self.output_is_inline else self.output_hash


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
    retry_after_seconds: float | None = None
    """When another attempt is to be made by itself; None: not at all."""
    usage: Usage | None = None
    """What it used so far; every figure is kept when given."""
    packing: Packing | None = None
    """Kept when given."""


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
    due_at: datetime.datetime | None = None
    """Not started before; None for what is due from its making on."""
    usage: Usage = _UNKNOWN
    packing: Packing | None = None
    """How it shared a task of the engine's scheduler with others; None when it had one for itself,
    or none yet."""


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
    """The job_id, file_hash or batch_id; it orders what is of one moment."""


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
    rows: Sequence[ChangedRows] = ()
    """The rows of batches that were changed themselves, other than by being accepted."""
    touched: Collection[str] = frozenset()
    """The jobs of which an attempt was changed otherwise than in its status: it has another place
    in the queue, or is to be stopped."""
