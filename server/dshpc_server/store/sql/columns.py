"""Between values and columns: how attempts, jobs and rows lie in the tables.

Rows are unpacked by position, in the order of the column lists here: ten thousand of them pass
through in one call.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dshpc_server.domain import lookup
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Outcome, Resources
from dshpc_server.store.records import ActiveAttempt, Attempt, AttemptRecord, Claim, Ending, Row
from dshpc_server.store.sql import tables, usage

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
# A look-up in a dict is a fifth of a call of the enum.
STATUSES = {status.value: status for status in JobStatus}
OUTCOMES = {outcome.value: outcome for outcome in Outcome}
# None stands for itself.
STATUSES_OR_NONE: dict[str | None, JobStatus | None] = {
    None: None,
    **{status.value: status for status in JobStatus},
}
_KEPT_OR_NONE: dict[str | None, lookup.Kept | None] = {
    None: None,
    **{kept.value: kept for kept in lookup.Kept},
}

_jobs = tables.jobs.c
_attempts = tables.attempts.c
_rows = tables.batch_rows.c

ATTEMPT = (
    _attempts.job_id,
    _attempts.number,
    _attempts.status,
    _attempts.revision,
    _jobs.function_hash,
    _attempts.replaced,
    _attempts.chain,
    _attempts.is_retried,
    _attempts.created_at,
    _attempts.started_at,
    _attempts.ended_at,
    _attempts.changed_at,
    _attempts.result,
)
SPEC = (
    _jobs.job_id,
    _jobs.method_name,
    _jobs.function_hash,
    _jobs.inputs,
    _jobs.parameters_json,
)
RESOURCES = (_attempts.cpus, _attempts.memory_bytes, _attempts.gpus)
CLAIM = (
    *SPEC,
    *RESOURCES,
    _attempts.number,
    _attempts.timeout_seconds,
    _attempts.created_at,
    _attempts.revision,
    _attempts.chain,
    _attempts.priority,
)
ACTIVE = (*CLAIM, _attempts.status, _attempts.started_at, _attempts.cancel_reason)
ENDING = (
    _attempts.result,
    _attempts.exit_code,
    _attempts.signal,
    _attempts.output_hash,
    _attempts.output_size_bytes,
    _attempts.output_is_inline,
    _attempts.reason,
    _attempts.stderr_tail,
)
RECORD = (
    *ATTEMPT,
    *ENDING,
    *usage.COLUMNS,
    _attempts.engine_job_id,
    _attempts.node,
    _attempts.cancel_reason,
    _attempts.due_at,
)
ROW = (
    _rows.row_index,
    _rows.head,
    _rows.outcome,
    _rows.old_status,
    _rows.kept,
    _rows.rejection,
    _rows.ended_as,
    _rows.ending,
    _rows.changed_at,
    *ATTEMPT,
)
_encode_json = json.JSONEncoder(separators=(",", ":")).encode
_SPEC_ENDS = len(SPEC)
_RESOURCES_END = _SPEC_ENDS + len(RESOURCES)
_ATTEMPT_ENDS = len(ATTEMPT)
_ENDING_ENDS = _ATTEMPT_ENDS + len(ENDING)
_USAGE_ENDS = _ENDING_ENDS + len(usage.COLUMNS)


def moment(at: datetime.datetime) -> int:
    """Return an aware moment as it is stored: microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment_or_none(at: datetime.datetime | None) -> int | None:
    """Return `moment`, or None for None."""
    return None if at is None else moment(at)


def at(moment: int) -> datetime.datetime:
    """Return a stored moment as an aware one in UTC."""
    return _EPOCH + datetime.timedelta(0, 0, moment)  # by position: a third faster


def at_or_none(moment: int | None) -> datetime.datetime | None:
    """Return `at`, or None for None."""
    return None if moment is None else at(moment)


def attempt(row: Sequence[Any]) -> Attempt:
    """Build an attempt from the columns of ATTEMPT."""
    job_id, number, status, revision, function_hash, replaced, *others = row
    chain, is_retried, created, started, ended, changed_at, result = others
    return Attempt(
        key=AttemptKey(job_id=job_id, number=number),
        status=STATUSES[status],
        revision=revision,
        function_hash=function_hash,
        replaced=STATUSES_OR_NONE[replaced],
        created_at=at(created),
        started_at=at_or_none(started),
        ended_at=at_or_none(ended),
        result=result,
        chain=chain,
        is_retried=is_retried == 1,
        changed_at=changed_at,
    )


def spec(row: Sequence[Any]) -> JobSpec:
    """Build a job's identity from the columns of SPEC."""
    job_id, method_name, function_hash, inputs, parameters_json = row
    return JobSpec(
        job_id=job_id,
        method_name=method_name,
        function_hash=function_hash,
        inputs=json.loads(inputs),
        parameters_json=parameters_json,
    )


def spec_values(spec: JobSpec) -> tuple[str, str, str, str, str]:
    """Return the columns of SPEC."""
    return (
        spec.job_id,
        spec.method_name,
        spec.function_hash,
        inputs_json(spec.inputs),
        spec.parameters_json,
    )


def inputs_json(inputs: Mapping[str, str]) -> str:
    """Return inputs as they are stored."""
    told = ",".join([f"{_encode_json(name)}:{_encode_json(inputs[name])}" for name in inputs])
    return f"{{{told}}}"


def resources(row: Sequence[Any]) -> Resources:
    """Build what a job needs from the columns of RESOURCES."""
    cpus, memory_bytes, gpus = row
    return Resources(cpus=cpus, memory_bytes=memory_bytes, gpus=gpus)


def claim(row: Sequence[Any]) -> Claim:
    """Build what is needed to launch an attempt from the columns of CLAIM."""
    number, timeout_seconds, created_at, revision, chain, priority = row[_RESOURCES_END:]
    return Claim(
        key=AttemptKey(job_id=row[0], number=number),
        spec=spec(row[:_SPEC_ENDS]),
        resources=resources(row[_SPEC_ENDS:_RESOURCES_END]),
        timeout_seconds=timeout_seconds,
        created_at=at(created_at),
        revision=revision,
        chain=chain,
        priority=priority,
    )


def active(row: Sequence[Any]) -> ActiveAttempt:
    """Build an attempt that was claimed from the columns of ACTIVE."""
    *claimed, status, started_at, cancel_reason = row
    return ActiveAttempt(
        claim=claim(claimed),
        status=STATUSES[status],
        started_at=at_or_none(started_at),
        cancel_reason=cancel_reason,
    )


def batch_row(row: Sequence[Any]) -> Row:
    """Build a row of a batch from the columns of ROW."""
    index, head, outcome, old_status, kept, rejection, *others = row
    ended_as, ending, changed_at, *of_attempt = others
    return Row(
        index=index,
        head=head,
        outcome=OUTCOMES[outcome],
        old_status=STATUSES_OR_NONE[old_status],
        kept=_KEPT_OR_NONE[kept],
        attempt=None if of_attempt[0] is None else attempt(of_attempt),
        rejection=rejection,
        ended_as=STATUSES_OR_NONE[ended_as],
        ending=ending,
        changed_at=changed_at,
    )


def ending(row: Sequence[Any]) -> Ending | None:
    """Build what is kept of an ended attempt from the columns of ENDING; None before its end."""
    result, exit_code, signal, output_hash, size_bytes, is_inline, reason, stderr_tail = row
    if result is None:
        return None
    return Ending(
        result=result,
        exit_code=exit_code,
        signal=signal,
        output_hash=output_hash,
        output_size_bytes=size_bytes,
        output_is_inline=bool(is_inline),
        reason=reason,
        stderr_tail=stderr_tail,
    )


def record(row: Sequence[Any]) -> AttemptRecord:
    """Build everything that is known of an attempt from the columns of RECORD."""
    used, packing = usage.read(row[_ENDING_ENDS:_USAGE_ENDS])
    engine_job_id, node, cancel_reason, due_at = row[_USAGE_ENDS:]
    return AttemptRecord(
        attempt=attempt(row[:_ATTEMPT_ENDS]),
        ending=ending(row[_ATTEMPT_ENDS:_ENDING_ENDS]),
        engine_job_id=engine_job_id,
        node=node,
        cancel_reason=cancel_reason,
        due_at=at(due_at) if due_at else None,
        usage=used,
        packing=packing,
    )
