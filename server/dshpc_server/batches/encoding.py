"""How answers are encoded: the port that `app` fills with the transport's encoder.

A row's answer is a join of bytes, never a rebuilt message: a *head* that never changes (echo of
the config), a *decision* (what the look-up found) and the *attempt* (how the run stands), or, of a
row that ended by itself, its *ending*. The encoding is such that joined parts make a whole and of
two values for one field the last one counts; see `docs/decisions/0006-joined-answers.md`.
Everything here is opaque to batches and store.
"""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import Protocol

from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome, Packing
from dshpc_server.domain.rejection import Rejection
from dshpc_server.store import records


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What a completed method wrote to its standard output."""

    output_hash: str
    size_bytes: int
    text: str | None
    """The whole output when it is valid UTF-8 within the inline limit, else None."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EndedAttempt:
    """Everything an answer tells about an attempt that has ended."""

    key: AttemptKey
    status: JobStatus
    function_hash: str
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    ended_at: datetime.datetime
    exit_code: int | None
    signal: int | None
    output: Output | None
    """Given if and only if the status is COMPLETED."""
    reason: str
    """Why it failed, for people; empty when it did not."""
    stderr_tail: str
    packing: Packing | None = None
    """How it shared a task of the engine's scheduler with others; None when it did not."""


class ResultEncoder(Protocol):
    """Encodes the parts of an answer."""

    def duplicate(self, first_index: int) -> bytes:
        """Mark a head as a later row of the same request with the job of `first_index`."""
        ...

    def identity(self, job_id: str, function_hash: str) -> bytes:
        """Name the job in the head of a row that may get no attempt to name it."""
        ...

    def waiting(self, upstreams: Sequence[str]) -> bytes:
        """What a row waits for, in its head; it is told as long as the row is not decided."""
        ...

    def input(self, file_hash: str) -> bytes:
        """The input called "input", in the head of a row that did not know it from the first."""
        ...

    def rejection(self, config_index: int, rejection: Rejection) -> bytes:
        """Why a row of this config names no job."""
        ...

    def decision(
        self, outcome: Outcome, old_status: JobStatus | None, kept: lookup.Kept | None
    ) -> bytes:
        """What the look-up decided, with its message."""
        ...

    def validation(self, outcome: Outcome) -> bytes:
        """That the decision is what would happen, and did not; stands last."""
        ...

    def in_progress(self, attempt: records.Attempt) -> bytes:
        """An attempt that has not ended."""
        ...

    def ended(self, attempt: EndedAttempt) -> bytes:
        """An attempt that has; this is what the store keeps as the attempt's result."""
        ...

    def row_ending(
        self,
        status: JobStatus,
        reason: str,
        ended_at: datetime.datetime,
        attempt: records.Attempt | None,
    ) -> bytes:
        """How a row ended by itself; this is what the store keeps as the row's `ending`.

        An attempt that it was tied to is told as it stands now: what becomes of it later does not
        show.
        """
        ...

    def output(self, result: bytes) -> bytes | None:
        """The whole output back from what `ended` encoded; None when it is not in there."""
        ...

    def without_output(self, result: bytes) -> bytes:
        """A result with its output taken out; its hash and size stay."""
        ...

    def with_output(
        self, result: bytes, max_bytes: int, read: Callable[[str], str | None]
    ) -> bytes:
        """A result with its output inline if and only if that has at most `max_bytes`.

        `read` finds the text of an output that the result does not hold, by its hash; None when it
        is not there or no text.
        """
        ...


def encoded_row(
    row: records.Row,
    encoder: ResultEncoder,
    change: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Return a row's whole answer; `change` is applied to the result of its attempt.

    The decision of a row that found its answer stands last, so that its message is the one that
    counts; that of one that waits stands before its head, which says what for; in every other row
    the attempt has the last word, or the row's own ending.
    """
    if row.rejection is not None:
        return row.head + row.rejection
    decision = encoder.decision(row.outcome, row.old_status, row.kept)
    if row.ending is not None:
        return row.head + decision + row.ending
    if row.outcome is Outcome.PENDING:
        return decision + row.head
    if row.attempt is None:
        return row.head + decision
    attempt = row.attempt.result or encoder.in_progress(row.attempt)
    if change is not None:
        attempt = change(attempt)
    if row.outcome in (Outcome.FOUND_COMPLETED, Outcome.FAILURE_KEPT):
        return row.head + attempt + decision
    return row.head + decision + attempt
