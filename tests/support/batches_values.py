"""Attempts, rows and ends for tests of batches and of the encoder, each told by a few words."""

import datetime

from dshpc_server.batches import encoding
from dshpc_server.domain import job
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lookup import Kept
from dshpc_server.store.records import Attempt, Row
from support import store_values

ENDED_AT = store_values.later(8)
STARTED_AT = store_values.later(3)


def attempt(
    name: object = "job",
    status: JobStatus = JobStatus.PENDING,
    *,
    number: int = 1,
    revision: int = 1,
    started_at: datetime.datetime | None = None,
    result: bytes | None = None,
    replaced: JobStatus | None = None,
    chain: int | None = None,
    is_retried: bool = False,
) -> Attempt:
    """An attempt as the store tells it; one that has ended brings a result.

    It is in a chain of its own unless that is said.
    """
    has_ended = status in job.TERMINAL
    return Attempt(
        key=AttemptKey(job_id=store_values.sha(name), number=number),
        status=status,
        revision=revision,
        function_hash=store_values.sha("function"),
        replaced=replaced,
        created_at=store_values.NOON,
        started_at=started_at,
        ended_at=ENDED_AT if has_ended else None,
        result=(result or b"result") if has_ended else None,
        chain=number if chain is None else chain,
        is_retried=is_retried,
    )


def row(
    outcome: Outcome = Outcome.SUBMITTED,
    of: Attempt | None = None,
    *,
    index: int = 0,
    head: bytes = b"",
    old_status: JobStatus | None = None,
    kept: Kept | None = None,
    rejection: bytes | None = None,
) -> Row:
    """A row as the store tells it."""
    return Row(
        index=index,
        head=head,
        outcome=outcome,
        old_status=old_status,
        kept=kept,
        attempt=of,
        rejection=rejection,
    )


def text_output(text: str = "done\n") -> encoding.Output:
    """An output that stands in its row."""
    return encoding.Output(
        output_hash=store_values.sha(text), size_bytes=len(text.encode()), text=text
    )


def ended(
    status: JobStatus = JobStatus.COMPLETED,
    name: object = "job",
    *,
    number: int = 1,
    started_at: datetime.datetime | None = STARTED_AT,
    exit_code: int | None = 0,
    signal: int | None = None,
    output: encoding.Output | None = None,
    reason: str = "",
    stderr_tail: str = "",
) -> encoding.EndedAttempt:
    """An attempt that has ended, as the reconciler tells the encoder."""
    if status is JobStatus.COMPLETED and output is None:
        output = text_output()
    return encoding.EndedAttempt(
        key=AttemptKey(job_id=store_values.sha(name), number=number),
        status=status,
        function_hash=store_values.sha("function"),
        created_at=store_values.NOON,
        started_at=started_at,
        ended_at=ENDED_AT,
        exit_code=exit_code,
        signal=signal,
        output=output,
        reason=reason,
        stderr_tail=stderr_tail,
    )
