"""Recording: what happened to attempts, applied by the lifecycle table, in bulk."""

import dataclasses
import datetime
from collections.abc import Sequence

import sqlalchemy

from dshpc_server.domain import job, lifecycle
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Attempt, Ending, Report
from dshpc_server.store.sql import bulk, columns, reader, tables

_attempts = tables.attempts.c
# The one active attempt of each job, if any, held for us.
_ACTIVE = (
    sqlalchemy.select(*columns.ATTEMPT, _attempts.engine_job_id, _attempts.node)
    .select_from(reader.ATTEMPT_OF_JOB)
    .where(_attempts.job_id.in_(reader.KEYS), reader.NOT_ENDED)
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
    changed = [run.values() for run in runs.values() if run.changed]
    bulk.update(connection, tables.attempts, _CHANGING, changed)
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
    ending: Ending | None = None
    changed: bool = False

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
        for *values, engine_job_id, node in found:
            attempt = columns.attempt(values)
            run = _Run(attempt=attempt, engine_job_id=engine_job_id, node=node)
            runs[attempt.key.job_id] = run
    return runs
