"""Recording: what happened to attempts, applied by the lifecycle table, in bulk.

What is recorded of a job is recorded holding its row, as it is accepted: of two servers the second
sees what the first one did.
"""

import dataclasses
import datetime
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.records import Attempt, Ending, Report
from dshpc_server.store.sql import (
    bulk,
    columns,
    exclusion,
    files,
    joins,
    retrying,
    stamps,
    tables,
    usage,
)

_attempts = tables.attempts.c
_ATTEMPT_ENDS = len(columns.ATTEMPT)
_USAGE_ENDS = _ATTEMPT_ENDS + len(usage.COLUMNS)
# The one active attempt of each job, if any, held for us.
_ACTIVE = (
    sqlalchemy.select(
        *columns.ATTEMPT,
        *usage.COLUMNS,
        _attempts.engine_job_id,
        _attempts.node,
        _attempts.is_bypass,
        _attempts.owner,
        _attempts.cancel_reason,
        tables.jobs.c.answering_attempt,
    )
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED)
    .order_by(_attempts.job_id)
    .with_for_update(of=[tables.jobs, tables.attempts], key_share=True)
)


def record(
    connection: sqlalchemy.Connection,
    reports: Sequence[Report],
    server_id: str,
    now: Callable[[], int],
    stamp: stamps.Stamp,
) -> Sequence[Attempt]:
    """Apply reports in order; return the attempts that changed. See `store.port.Writer`.

    `now` is the present by the store's clock; it is asked only for retries. `stamp` is that of the
    transaction.
    """
    # Before any job is held: whoever deletes content holds that first, too.
    if any(report.ending and report.ending.kept_output for report in reports):
        exclusion.use_content(connection)
    runs = _active_runs(connection, {report.key.job_id for report in reports})
    changes: list[Attempt] = []
    for report in reports:
        run = runs.get(report.key.job_id)
        # An attempt that is not the active one has ended, and what has ended never changes.
        if run is not None and run.attempt.key == report.key and run.is_of(server_id):
            changes += run.apply(report, now, stamp)
    changed = [run for run in runs.values() if run.changed]
    bulk.update(connection, tables.attempts, _CHANGING, [run.values() for run in changed])
    retrying.retry(connection, [run.retry for run in changed if run.retry is not None])
    answering = [run.attempt.key for run in changed if run.begins_to_answer]
    values = [(key.number, key.job_id) for key in answering]
    bulk.update(connection, tables.jobs, ["answering_attempt"], values)
    files.put_outputs(connection, [kept for run in changed for kept in run.kept_outputs()])
    return changes


_CHANGING = (
    "status",
    "revision",
    "started_at",
    "ended_at",
    "engine_job_id",
    "node",
    *usage.NAMES,
    "exit_code",
    "signal",
    "output_hash",
    "output_size_bytes",
    "output_is_inline",
    "reason",
    "result",
    "stderr_tail",
    "is_retried",
    "changed_at",
)


@dataclasses.dataclass(kw_only=True, slots=True)
class _Run:
    """An attempt that is being moved."""

    attempt: Attempt
    used: Sequence[object]
    """What it used and how it was packed, as the columns of `usage`."""
    engine_job_id: str
    node: str
    is_bypass: bool
    owner: str | None
    """The server that claimed it; None before that."""
    cancel_reason: str | None
    answering: int | None
    """The attempt that look-ups find."""
    ending: Ending | None = None
    retry: retrying.Retry | None = None
    """The attempt that follows on it by itself."""
    changed: bool = False

    def is_of(self, server_id: str) -> bool:
        """Whether this server may tell what becomes of it: nobody else has it."""
        return self.owner in (None, server_id)

    @property
    def is_to_be_stopped(self) -> bool:
        """Whether it is not begun again, whatever becomes of it."""
        return self.cancel_reason is not None

    @property
    def begins_to_answer(self) -> bool:
        """Whether it takes the place of an earlier result, or of none, now that it completed."""
        return (
            self.attempt.status is JobStatus.COMPLETED
            and self.answering != self.attempt.key.number
            and not self.is_bypass
        )

    def kept_outputs(self) -> Iterator[tuple[str, int, datetime.datetime]]:
        """Yield what came into the content store with its end: hash, size and moment."""
        ending, at = self.ending, self.attempt.ended_at
        if ending and at and ending.kept_output:
            yield ending.kept_output, ending.output_size_bytes, at

    def apply(
        self, report: Report, now: Callable[[], int], stamp: stamps.Stamp
    ) -> Sequence[Attempt]:
        """Move the attempt as the table says; return what changed, and what is new by that."""
        target = lifecycle.target(self.attempt.status, report.event)
        # Only `claiming` claims: what is claimed has an owner.
        if target is None or report.event is Event.CLAIMED:
            return ()
        ended = target in job.TERMINAL
        if ended != (report.ending is not None):
            raise ValueError(f"{report.event} makes {report.key} {target}: ending is misplaced")
        if report.retry_after_seconds is not None and target not in job.FAILED:
            raise ValueError(f"{report.event} makes {report.key} {target}: nothing to retry")
        self.attempt = _moved(self.attempt, target, report, stamp())
        self.ending = report.ending
        self.engine_job_id = report.engine_job_id or self.engine_job_id
        self.node = report.node or self.node
        if report.usage is not None or report.packing is not None:
            self.used = usage.told(self.used, report.usage, report.packing)
        self.changed = True
        if report.retry_after_seconds is None or self.is_to_be_stopped:
            return (self.attempt,)
        self.attempt = dataclasses.replace(self.attempt, is_retried=True)
        self.retry = retrying.following(self.attempt, report.retry_after_seconds, now())
        return self.attempt, self.retry.attempt

    def values(self) -> tuple[object, ...]:
        """Return the columns of _CHANGING, then the key."""
        attempt, ending = self.attempt, self.ending or _NO_ENDING
        return (
            attempt.status.value,
            attempt.revision,
            columns.moment_or_none(attempt.started_at),
            columns.moment_or_none(attempt.ended_at),
            self.engine_job_id,
            self.node,
            *self.used,
            ending.exit_code,
            ending.signal,
            ending.output_hash,
            ending.output_size_bytes,
            int(ending.output_is_inline),
            ending.reason,
            attempt.result,
            ending.stderr_tail,
            int(attempt.is_retried),
            attempt.changed_at,
            attempt.key.job_id,
            attempt.key.number,
        )


def _moved(attempt: Attempt, target: JobStatus, report: Report, changed_at: int) -> Attempt:
    # Spelt out: `dataclasses.replace` takes three times as long.
    return Attempt(
        key=attempt.key,
        status=target,
        revision=attempt.revision + 1,
        function_hash=attempt.function_hash,
        replaced=attempt.replaced,
        created_at=attempt.created_at,
        started_at=attempt.started_at or _start(report),
        ended_at=report.at if report.ending is not None else None,
        result=report.ending.result if report.ending is not None else None,
        chain=attempt.chain,
        changed_at=changed_at,
    )


_NO_ENDING = Ending(
    result=b"",
    exit_code=None,
    signal=None,
    output_hash="",
    output_size_bytes=0,
    output_is_inline=False,
    reason="",
    stderr_tail="",
)


def _start(report: Report) -> datetime.datetime | None:
    """When the attempt started, as far as the report tells."""
    return report.started_at or (report.at if report.event is Event.STARTED else None)


def _active_runs(connection: sqlalchemy.Connection, job_ids: set[str]) -> dict[str, _Run]:
    runs = {}
    for keys in bulk.key_lists(job_ids):
        found = connection.execute(_ACTIVE, {"keys": keys}).all()
        for row in found:
            attempt = columns.attempt(row[:_ATTEMPT_ENDS])
            engine_job_id, node, is_bypass, owner, cancel_reason, answering = row[_USAGE_ENDS:]
            runs[attempt.key.job_id] = _Run(
                attempt=attempt,
                used=row[_ATTEMPT_ENDS:_USAGE_ENDS],
                engine_job_id=engine_job_id,
                node=node,
                is_bypass=bool(is_bypass),
                owner=owner,
                cancel_reason=cancel_reason,
                answering=answering,
            )
    return runs
