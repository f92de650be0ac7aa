"""The store's port: what the service remembers, asked and told in batches.

Synchronous by design: the asyncio side makes one hop to the store's thread per call
(`store.committer`), never one per job. One behaviour suite (`tests/contract/store_suite.py`) runs
over every adapter; the docstrings here are its specification.

Invariants that every adapter's schema repeats: one row per job_id; at most one attempt of a job
that has not ended; an attempt has an end time if and only if its status is terminal; what was
claimed has an owner; status and outcome words are those of `domain.job`.

A store is opened as one *server*. Several servers may use a shared one at the same time; each has
a lease, by the database's clock, which it renews. Attempts are *owned* by the server that claimed
them, and only the owner records what becomes of them, so that a server which was thought dead, and
comes back, changes nothing. Who dies loses its attempts to the next server of its scope.
"""

import contextlib
import datetime
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from dshpc_server import errors
from dshpc_server.domain import queue
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.store.records import (
    USUAL_AGEING,
    AcceptedRequest,
    ActiveAttempt,
    Attempt,
    BatchRecord,
    BatchTally,
    Claim,
    Claims,
    Commit,
    Ending,
    FileRecord,
    JobRecord,
    ListPosition,
    NewBatch,
    NextPiece,
    Report,
    RetriableRow,
    Row,
    RowState,
    ServerRecord,
    StagedPiece,
    StrandedBatch,
    Withdrawal,
    Withdrawn,
)
from dshpc_server.store.undecided import Settled, Skip, Upstreams

T = TypeVar("T")


class StoreInUseError(errors.DshpcError):
    """Another server holds this store; it is for one server only."""

    def __init__(self, store: str) -> None:
        super().__init__(f"{store} is in use by another server")
        self.store = store


class FencedError(errors.DshpcError):
    """This server's lease was ended by another one, which has its attempts now."""

    def __init__(self, server_id: str) -> None:
        super().__init__(f"server {server_id} was taken for dead")
        self.server_id = server_id


class ContentGoingError(errors.DshpcError):
    """Content that is needed is being deleted; prepared anew, the request finds it missing."""

    def __init__(self, file_hash: str) -> None:
        super().__init__(f"file '{file_hash}' is being deleted")
        self.file_hash = file_hash


class RequestAcceptedError(errors.DshpcError):
    """A request of this name was accepted before; its batch is the answer."""

    def __init__(self, accepted: AcceptedRequest) -> None:
        super().__init__(f"request '{accepted.name.request_id}' has batch '{accepted.batch_id}'")
        self.accepted = accepted


class StoreUnusableError(errors.DshpcError):
    """What is there is damaged, of a newer version, or no store of this service. Left as it was."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store} cannot be used as a store: {reason}")
        self.store = store
        self.reason = reason


class Deployed(Protocol):
    """What belongs to a deployment, with one data folder; see `domain.deployment`."""

    @property
    def address(self) -> str:
        """Where it is, as messages tell it; no secret is in it."""
        ...

    def find_deployment_id(self) -> str | None:
        """The deployment_id that it keeps; None until one was kept."""
        ...

    def is_new(self) -> bool:
        """Whether no batch and no file was ever stored in it."""
        ...

    def lies_in(self, folder: pathlib.Path) -> bool:
        """Whether it is a file in this folder, and so goes where that goes."""
        ...


class Reader(Protocol):
    """Questions. Safe from any thread, also while a write is going on; each sees one state."""

    def find_attempts(self, job_ids: Collection[str]) -> Mapping[str, Attempt]:
        """The newest attempt of each of these jobs; unknown ones are left out."""
        ...

    def find_all_attempts(self, job_ids: Collection[str]) -> Sequence[Attempt]:
        """Every attempt of these jobs, the older before the newer of each."""
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
        """At most `limit` jobs by (time, job_id) of their newest attempt, the newest first.

        `after` is the position of the last one seen; None begins. The status is that of the
        newest attempt. Empty filters let all pass. `attempts` of what is returned is empty.
        """
        ...

    def find_kept_outputs(self, job_ids: Collection[str]) -> set[str]:
        """Outputs in the content store that a look-up of these jobs would answer with."""
        ...

    def has_batch(self, batch_id: str) -> bool:
        """Whether this batch is shown: it was accepted, to its last row."""
        ...

    def has_staged_rows(self, batch_id: str) -> bool:
        """Whether this batch is sealed and not shown yet."""
        ...

    def find_next_piece(self, batch_id: str, after: int = -1) -> NextPiece | None:
        """The first piece left of a sealed batch that has a higher number; None for none."""
        ...

    def find_stranded_batches(self) -> Sequence[StrandedBatch]:
        """Those that have pieces left which were staged by servers of which there is no record."""
        ...

    def find_batch(self, batch_id: str) -> BatchRecord | None:
        """One batch, without its rows."""
        ...

    def find_batches(self, *, after: ListPosition | None, limit: int) -> Sequence[BatchRecord]:
        """At most `limit` batches by (created_at, batch_id), the newest first; see `find_jobs`."""
        ...

    def find_failure_limits(
        self, job_ids: Collection[str] | None, *, batch_ids: Collection[str] = ()
    ) -> Mapping[str, int]:
        """`max_failures` of batches that have one, are not cancelled, and may not have ended.

        Those with a row that waits for one of these jobs, or has waited for it to its end; and
        these batches. None: all. Those that are not shown yet are left out.
        """
        ...

    def find_tallies(self, batch_ids: Collection[str]) -> Mapping[str, BatchTally]:
        """How many rows of these batches are what, counted now; unknown ones are left out."""
        ...

    def find_request(self, request_id: str) -> AcceptedRequest | None:
        """The request of this name, if it was accepted: its batch may not be shown yet."""
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

        The status is `Row.status`; a filter on statuses leaves out a row that has none. A batch
        that is not shown yet has no rows.
        """
        ...

    def find_rows_by_index(self, batch_id: str, indexes: Collection[int]) -> Sequence[Row]:
        """Those of these rows that there are, by index."""
        ...

    def find_row_states(self, batch_id: str, *, first_index: int, limit: int) -> Sequence[RowState]:
        """How at most `limit` rows from `first_index` on stand, by index."""
        ...

    def find_row_states_by_index(
        self, batch_id: str, indexes: Collection[int]
    ) -> Sequence[RowState]:
        """How those of these rows stand that there are, by index."""
        ...

    def has_undecided(self) -> bool:
        """Whether any row of any batch waits for others."""
        ...

    def find_retriable_rows(self, batch_id: str) -> Sequence[RetriableRow]:
        """The rows that ended and are not COMPLETED, and those that wait for others, by index.

        Left out is what names no job and was accepted by a version that kept no configs.
        """
        ...

    def find_completed(self, chains: Collection[AttemptKey]) -> set[AttemptKey]:
        """Which of these chains have COMPLETED, each told by its first attempt."""
        ...

    def find_active(self) -> Sequence[ActiveAttempt]:
        """Every attempt that this server owns and that has not ended, oldest first."""
        ...

    def find_servers(self) -> Sequence[ServerRecord]:
        """Every server there is a record of, this one included."""
        ...

    def find_deleting(self) -> Sequence[str]:
        """Content whose deletion has begun and was not finished."""
        ...

    def find_unused_files(self, *, before: datetime.datetime, limit: int) -> Sequence[FileRecord]:
        """At most `limit` files last used before then, the longest unused first.

        Left out is what is being deleted, and what was used since the oldest of the jobs that have
        not ended was queued, or the oldest of the batches was accepted in which rows wait for
        others: so nothing that they or their batches refer to is among them.
        """
        ...

    def find_output(self, output_hash: str) -> Attempt | None:
        """Some COMPLETED attempt whose result holds this output whole; None when there is none."""
        ...

    def find_outputs(self, output_hashes: Collection[str]) -> set[str]:
        """Which of these some COMPLETED attempt's result holds whole."""
        ...

    def find_file(self, file_hash: str) -> FileRecord | None:
        """The labels of a file; None for one that is being deleted."""
        ...

    def find_files(self, *, after: ListPosition | None, limit: int) -> Sequence[FileRecord]:
        """At most `limit` files by (created_at, file_hash), the newest first; see `find_jobs`."""
        ...


class Writer(Protocol):
    """Changes, inside the one transaction of `Store.write`.

    Every attempt and every row that a transaction makes or changes has its *stamp*, `changed_at`:
    microseconds since 1970 by the store's clock, later than those of all transactions of this
    server before. An attempt changes when its status does.
    """

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
        batch, and is not older than the job's last REFRESH. New attempts are PENDING and queue in
        turns (`domain.queue.Turns`), each with the highest of the priorities of the rows that
        wait for it; one that waits already is moved up for a row of a higher priority, or of an
        earlier turn. Two servers that accept one new job at one instant store one
        attempt; both are told of it. Returns the rows in the order given. A batch_id that exists
        is an error (`ValueError`), and nothing is stored. So is content among `file_hashes` that
        is being deleted (`ContentGoingError`), and a `request` whose name has a batch
        (`RequestAcceptedError`): of two servers that accept one name at one instant the second
        waits for the first, and is told of its batch. The config of a row, and what it comes after,
        are kept as long as the row has no attempt.

        A row that waits for others is stored as PENDING, with what it is to run; nothing is looked
        up, nor looked at how what it waits for stands: `settle` does that, right after.

        A batch with `staged_rows` is *sealed* by this: whatever happens then, the pieces that this
        server has staged of it are accepted, one by one. Until the last one is, the batch is not
        shown. When they are not all there FencedError is raised: others have removed them, since
        this server was taken for dead.
        """
        ...

    def settle(
        self,
        upstreams: Upstreams | None,
        ending: Callable[[Skip], bytes],
        *,
        within: str | None = None,
    ) -> Settled:
        """Tell those who wait for these that have ended how that was; None: for whatever they do.

        What has not ended, or is waited for by nobody, is passed over. Dependencies that are met
        are noted. A row with one that cannot be met any more (`domain.dependencies`) is WITHHELD
        and SKIPPED, with what `ending` makes of it, and so are those who needed that row, and so
        on. A row that waits for nothing more is ready; ready rows are told until they are
        released, some at a time, of all batches or of the one `within` which it is asked. Where
        many wait some are told at a time, and the answer says that there are more. Settling again
        is harmless.
        """
        ...

    def release(self, batch: NewBatch) -> Sequence[Row]:
        """Look up rows of a stored batch that are ready, decide and store them as `accept` does.

        Those that are not ready, or were decided meanwhile, are passed over. Of `batch` its name,
        rows, content and moment count, which is when the new attempts are created and queued; they
        take turns as those of a batch that comes then, with the priority that the stored batch has
        by now. The heads of the rows are replaced. Returns the rows that were decided. Raises
        ContentGoingError as `accept` does.
        """
        ...

    def stage(self, pieces: Sequence[StagedPiece]) -> None:
        """Keep pieces of a batch that is not sealed yet, as this server's.

        Nothing else sees them, and nothing comes of them before the batch is sealed.
        """
        ...

    def accept_piece(self, batch: NewBatch, number: int) -> Sequence[Row] | None:
        """Accept a piece of a sealed batch as `accept` does a batch; with the last it is shown.

        `rows` are those of the piece with that number. None, and nothing is stored, when that piece
        is not left: another server was quicker.
        """
        ...

    def unstage(self, batch_id: str) -> bool:
        """Forget what was staged of a batch, unless it is sealed; whether it is."""
        ...

    def claim(
        self,
        judge: Callable[[Claim], queue.Verdict],
        limit: int,
        ageing: queue.Ageing = USUAL_AGEING,
    ) -> Claims:
        """Take PENDING attempts that are due from the head of the queue; make them CONFIGURING.

        They are this server's from then on. What another server is just claiming is stepped over.
        A retry keeps the place in the queue of the attempt it retries. Raises FencedError.

        Whose turn it is, attempt by attempt: the class that `ageing` names, in which those that
        wait with one priority are taken by (turn, time of the batch, index). `judge` is asked once
        per attempt and keeps count of what it granted; the first to be told STOP ends the claim, so
        that a large job is not overtaken for ever. Those behind one that is stepped over are looked
        at, unless `queue.MOST_STEPPED_OVER` of their class were. At most `limit` are taken.
        """
        ...

    def set_priority(self, batch_id: str, priority: int) -> bool:
        """Give a batch this priority; False when there is no such batch, or it is not shown yet.

        What is in the queue for rows of it that have none of their own has the highest priority of
        those who wait for it then. Where that is another than before its turn is as if it had come
        now.
        """
        ...

    def record(self, reports: Sequence[Report]) -> Sequence[Attempt]:
        """Apply reports in order by the lifecycle table.

        A report for another attempt than the newest, for one that another server owns, or one the
        table does not let through, is dropped without effect: late and repeated reports are
        harmless. So is one of a claim: only `claim` makes those. An end in one of `job.FAILED` with
        `retry_after_seconds` makes the next attempt of the chain, PENDING and due after that time
        by the store's clock, unless the one that ended was to be stopped; whatever spoke of the one
        that ended speaks of the new one. What a report tells of usage and packing lies over what
        was told before, figure by figure; of the new one nothing is known yet. Returns the attempts
        that changed or are new, as they are after each change. An output in the content store gets
        its file record in the same transaction; no deletion begins or ends while that lasts. While
        such an output is being deleted its end cannot be recorded: ContentGoingError, and nothing
        is, unless the report is one of those that are dropped. Whether it is still in the content
        store is for the caller to look at, once this has answered.
        """
        ...

    def take_over(
        self, dead: Collection[str], *, also_expired: bool = True
    ) -> Sequence[ActiveAttempt]:
        """Make the attempts of dead servers of this server's scope its own; return those.

        They name the server they were taken from.
        Dead are those named, which the caller has proof of, those who have left, those whose lease
        has expired (unless the store was away, and nobody could renew his), and those without a
        record. Their records go, so they cannot claim or record any more. In a store for one server
        that is every other one. Raises FencedError.
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

    def withdraw(
        self,
        asked: Withdrawal,
        end: Callable[[Attempt], Ending],
        end_row: Callable[[Attempt | None, datetime.datetime], bytes],
    ) -> Withdrawn | None:
        """Have a batch want rows of its own no more; None when none is shown that has this name.

        A row that has not ended waits for a run. When another row waits for that run, of another
        batch or one of this batch that is not withdrawn, the run goes on and the row is detached:
        it is CANCELLED by itself, whatever becomes of the run. When none does, the attempt is
        cancelled as by `cancel`, with `end`, and the row ends as that does. A row whose outcome is
        PENDING waits for no run yet: it becomes WITHHELD, and is CANCELLED. Rows that end by
        themselves have as `ending` what `end_row` makes of the attempt they were tied to and the
        moment. What is to be stopped already is left as it is, so asking again changes nothing.
        When all rows are withdrawn and one of them had not ended, the batch keeps the reason; the
        first one given counts.
        """
        ...

    def keep_tally(self, batch_id: str, tally: BatchTally) -> None:
        """Keep how a batch ended, so that it is counted no more; what was kept before stays.

        Raises ValueError for one that is not final.
        """
        ...

    def put_file(self, record: FileRecord) -> FileRecord:
        """Remember a file's labels; for a known hash keep the old ones and touch last_used_at.

        Where the old ones are empty (an output that is uploaded, too) the new ones are taken.
        Raises ContentGoingError while it is being deleted.
        """
        ...

    def delete_file(self, file_hash: str, without_output: Callable[[bytes], bytes]) -> bool:
        """Begin to delete a file, and take it out of the results that hold it as their output.

        Such results become what `without_output` makes of them; their jobs have no answer any
        more. Until `forget_file` no batch that needs the content is accepted, and nobody puts it:
        between the two the content itself is removed. Beginning again is harmless. Answers whether
        anything was known of it. Raises `errors.InUseError`, and nothing is changed, while a job
        with an attempt in progress has it as an input, or a row that waits for others needs it.
        """
        ...

    def forget_file(self, file_hash: str) -> bool:
        """End a deletion, as the content goes; False when it has been ended before.

        Whoever is answered True is the only one until the commit: content is removed meanwhile, so
        that nothing is removed that was put anew after another had ended the deletion.
        """
        ...


class Store(Reader, Deployed, Protocol):
    """What the service remembers."""

    @property
    def name(self) -> str:
        """The kind of store, as GetServerInfo tells it."""
        ...

    @property
    def server_id(self) -> str:
        """As which server it is open."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether other servers may use it at the same time: then the lease is to be renewed."""
        ...

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts from its last renewal."""
        ...

    def renew(self) -> None:
        """Renew the lease. Safe from any thread, also during a write. Raises FencedError."""
        ...

    def rejoin(self) -> None:
        """Become another server, with a new server_id, after FencedError."""
        ...

    def leave(self) -> None:
        """End the lease: whoever is of the same scope may take the attempts over."""
        ...

    def keep_deployment_id(self, deployment_id: str) -> str:
        """Keep this deployment_id for good, unless one is kept; return the one that is.

        Of several servers that do so at one moment one is first, and all are answered with its. It
        is durable then. When this raises it may be kept all the same.
        """
        ...

    def follow(
        self,
        tell: Callable[[Collection[str] | None], None],
        tell_batches: Callable[[Collection[str]], None],
    ) -> contextlib.AbstractContextManager[None]:
        """Have what *other* servers change told, until the exit, from a thread of the store's.

        `tell` gets the ids of jobs whose attempts changed or are to be stopped, after the commit;
        or None: anything may have changed, as after a connection was lost. `tell_batches` gets the
        ids of batches whose rows changed themselves. Nothing is missed.
        """
        ...

    def write(self, works: Sequence[Callable[[Writer], T]]) -> Commit[T]:
        """Run every work in one transaction and commit; return their answers and changes.

        When this returns, the effects of every work that answered are durable. A work that
        raises leaves no trace and its exception stands in its place; the others are not touched.
        A work lets the store's own errors through: they end the transaction, for all. It may be
        run more than once, when what other servers do at the same time makes that necessary.
        When this raises (`errors.UnavailableError`) mostly nothing was stored; after a connection
        that was lost in the commit all may be. Never called from two threads at one time.
        """
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...
