"""What the torture finds out at the end: what was lost, what ran twice, what is wrong. Pure.

`problems` compares three things that do not know of one another: what clients were told while the
servers died, what the service says in the end, and what the runs themselves have counted.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence

from dshpc.v1 import types_pb2
from support import fault_tally, site
from support.fault_tally import Asked, Mode, Run

COMPLETED = types_pb2.JOB_STATUS_COMPLETED
FAILED = types_pb2.JOB_STATUS_FAILED
CANCELLED = types_pb2.JOB_STATUS_CANCELLED
BOOT_FAIL = types_pb2.JOB_STATUS_BOOT_FAIL
NODE_FAIL = types_pb2.JOB_STATUS_NODE_FAIL


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a batch, as somebody was told it."""

    job_id: str
    status: int
    attempt: int
    output_hash: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A batch that the service said it had accepted."""

    batch_id: str
    asked: Sequence[Asked]
    rows: Mapping[int, Row]
    """By index, what was told of it at the time; of some rows nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt, as the service tells it in the end."""

    status: int
    exit_code: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What the service says in the end."""

    batches: Mapping[str, Sequence[Row]]
    attempts: Mapping[Run, Attempt]
    broken: Collection[str]
    """Hashes of outputs that could not be read, or are something else."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kills:
    """How often what was killed."""

    servers: int
    runners: int
    """Or kept from doing its work. Then attempts may be lost, or not started, and are retried."""
    attempts_at_once: int
    """How many a runner can take with it."""


def problems(
    told: Sequence[Told], found: Found, counts: fault_tally.Counts, kills: Kills
) -> list[str]:
    """Say in a line each what was lost, doubled or wrong; empty: nothing was."""
    return [
        *(line for batch in told for line in _of_batch(batch, found)),
        *(
            line
            for run, attempt in found.attempts.items()
            for line in _of_run(run, attempt, counts)
        ),
        *_of_counts(found, counts),
        *_of_kills(found, kills),
    ]


def _of_batch(told: Told, found: Found) -> Iterator[str]:
    rows = found.batches.get(told.batch_id)
    if rows is None:
        yield f"LOST: batch {told.batch_id} was accepted and is not known"
        return
    if len(rows) != len(told.asked):
        yield f"LOST: batch {told.batch_id} has {len(rows)} rows of {len(told.asked)}"
        return
    for index, (asked, row) in enumerate(zip(told.asked, rows, strict=True)):
        where = f"batch {told.batch_id} row {index} job {row.job_id} attempt {row.attempt}"
        yield from _of_row(where, asked, row)
        if row.output_hash in found.broken:
            yield f"LOST: {where}: its output {row.output_hash} cannot be read"
        earlier = told.rows.get(index)
        if earlier is not None:
            yield from _of_row(f"{where}, as it was told", asked, earlier)
            yield from _of_change(where, earlier, row)


def _of_row(where: str, asked: Asked, row: Row) -> Iterator[str]:
    expected = {
        Mode.WORK: (COMPLETED, NODE_FAIL),
        Mode.FAIL: (FAILED, NODE_FAIL),
        Mode.ONCE: (COMPLETED, FAILED, NODE_FAIL),
        Mode.STOP: (CANCELLED, NODE_FAIL),
    }
    if not row.job_id:
        yield f"LOST: {where}: what it needs is not there, and was acknowledged"
    elif row.status not in expected[asked.mode]:
        name = types_pb2.JobStatus.Name(types_pb2.JobStatus.ValueType(row.status))
        yield f"LOST: {where} is {name}, and was asked to {asked.mode}"
    if row.status == COMPLETED and row.output_hash != site.hash_of(asked.output):
        yield f"WRONG: {where} put out {row.output_hash}, not {asked}"


def _of_change(where: str, earlier: Row, row: Row) -> Iterator[str]:
    if earlier.job_id != row.job_id:
        yield f"WRONG: {where} was told to be job {earlier.job_id}"
    # A row follows the retries of its run, and nothing else.
    if (earlier.status, earlier.attempt) != (row.status, row.attempt):
        yield f"LOST: {where}: its end was told of attempt {earlier.attempt}, and is another now"


def _of_run(run: Run, attempt: Attempt, counts: fault_tally.Counts) -> Iterator[str]:
    where = f"job {run.job_id} attempt {run.number}"
    starts, ends = counts.starts[run], counts.ends[run]
    if starts > 1 or ends > 1:
        yield f"DOUBLED: {where} started {starts} times and ended {ends} times"
    if attempt.status in (COMPLETED, FAILED):
        if (starts, ends) == (0, 0):
            yield f"WRONG: {where} never ran and has an end"
        elif not (starts and ends):
            yield f"WRONG: {where} has an end and did not come to it"
    elif attempt.status == BOOT_FAIL and starts:
        yield f"WRONG: {where} could not be started, and ran"
    elif attempt.status not in (CANCELLED, NODE_FAIL, BOOT_FAIL):
        name = types_pb2.JobStatus.Name(types_pb2.JobStatus.ValueType(attempt.status))
        yield f"LOST: {where} is {name} in the end"


def _of_counts(found: Found, counts: fault_tally.Counts) -> Iterator[str]:
    for run in counts.beside:
        yield f"DOUBLED: job {run.job_id} attempt {run.number} ran beside another of its job"
    done = {
        run.job_id: run.number
        for run, attempt in found.attempts.items()
        if attempt.status == COMPLETED
    }
    for run in sorted(counts.starts):
        where = f"job {run.job_id} attempt {run.number}"
        if run not in found.attempts:
            yield f"DOUBLED: {where} ran and is not known"
        if run.number > done.get(run.job_id, run.number):
            yield f"DOUBLED: {where} ran after attempt {done[run.job_id]} had completed"


def _of_kills(found: Found, kills: Kills) -> Iterator[str]:
    died = [run for run, each in found.attempts.items() if each.status in (NODE_FAIL, BOOT_FAIL)]
    most = kills.runners * kills.attempts_at_once
    if len(died) > most:
        yield f"LOST: {len(died)} attempts died, and runners can have taken {most} along: {died}"
