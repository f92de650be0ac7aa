"""Recording: what happened to attempts, applied by the lifecycle table, in bulk."""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence

import sqlalchemy

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Attempt, Ending, Report
from dshpc_server.store.sql import bulk, columns, files, joins, tables

_attempts = tables.attempts.c
# The one active attempt of each job, if any, held for us.
_ACTIVE = (
    sqlalchemy.select(
        *columns.ATTEMPT,
        _attempts.engine_job_id,
        _attempts.node,
        _attempts.is_bypass,
        tables.jobs.c.answering_attempt,
    )
    .select_from(joins.ATTEMPT_OF_JOB)
    .where(_attempts.job_id.in_(joins.KEYS), joins.NOT_ENDED)
    .order_by(_attempts.job_id)
    .with_for_update(of=tables.attempts)
)


def record(connection: sqlalchemy.Connection, reports: Sequence[Report]) -> Sequence[Attempt]:
    """Apply reports in order; return the attempts that changed. See `store.port.Writer`."""
    runs = _active_runs(connection, {report.key.job_id for report in reports})
    changes = []
    for report in reports:
        run = runs.get(report.key.job_id)
        # An attempt that is not the active one has ended, and what has ended never changes.
        if run is not None and run.attempt.key == report.key and run.apply(report):
            changes.append(run.attempt)
    changed = [run for run in runs.values() if run.changed]
    bulk.update(connection, tables.attempts, _CHANGING, [run.values() for run in changed])
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
    "exit_code",
    "signal",
    "output_hash",
    "output_size_bytes",
    "output_is_inline",
    "reason",
    "result",
    "stderr_tail",
)


@dataclasses.dataclass(kw_only=True, slots=True)
class _Run:
    """An attempt that is being moved."""

    attempt: Attempt
    engine_job_id: str
    node: str
    is_bypass: bool
    answering: int | None
    """The attempt that look-ups find."""
    ending: Ending | None = None
    changed: bool = False

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
        if ending and at and ending.output_hash and not ending.output_is_inline:
            yield ending.output_hash, ending.output_size_bytes, at

    def apply(self, report: Report) -> bool:
        """Move the attempt as the table says; answer whether it moved."""
        target = lifecycle.target(self.attempt.status, report.event)
        if target is None:
            return False
        ended = target in job.TERMINAL
        if ended != (report.ending is not None):
            raise ValueError(f"{report.event} makes {report.key} {target}: ending is misplaced")
        self.attempt = dataclasses.replace(
            self.attempt,
            status=target,
            revision=self.attempt.revision + 1,
            started_at=self.attempt.started_at or _start(report),
            ended_at=report.at if ended else None,
            result=None if report.ending is None else report.ending.result,
        )
        self.ending = report.ending
        self.engine_job_id = report.engine_job_id or self.engine_job_id
        self.node = report.node or self.node
        self.changed = True
        return True

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
            ending.exit_code,
            ending.signal,
            ending.output_hash,
            ending.output_size_bytes,
            int(ending.output_is_inline),
            ending.reason,
            attempt.result,
            ending.stderr_tail,
            attempt.key.job_id,
            attempt.key.number,
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
        for *values, engine_job_id, node, is_bypass, answering in found:
            attempt = columns.attempt(values)
            runs[attempt.key.job_id] = _Run(
                attempt=attempt,
                engine_job_id=engine_job_id,
                node=node,
                is_bypass=bool(is_bypass),
                answering=answering,
            )
    return runs
