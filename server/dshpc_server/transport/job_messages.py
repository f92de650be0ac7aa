"""From the store's records to the messages Job and JobAttempt.

Promise: a message is made of what is stored, so two servers answer alike; but for why an attempt
does not run yet, and what its engine calls it by then, which only the engine that has it can tell.
"""

import json
from collections.abc import Callable, Sequence

from google.protobuf import json_format

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server.domain.job import AttemptKey, JobStatus, Usage
from dshpc_server.engine.port import Waiting
from dshpc_server.store import records
from dshpc_server.transport import moments, packings, wire, words

MAX_ATTEMPTS = 1000
"""The newest so many of a job's attempts are told; at some 500 bytes each they fit in an answer."""
SLURM = "slurm"
"""The engine whose own names are Slurm's ids."""
_WAITING = frozenset({JobStatus.PENDING, JobStatus.CONFIGURING})
_JOBS = job_service_pb2.ListJobsResponse.JOBS_FIELD_NUMBER


def _nobody_knows(key: AttemptKey, status: JobStatus) -> Waiting:
    del key, status
    return Waiting()


class JobMessages:
    """Makes messages of the jobs of one engine, in any thread.

    `waiting` says what is known of an attempt that has not started. It is asked in the thread where
    the message is made, with every attempt that waits.
    """

    def __init__(
        self,
        *,
        engine_name: str,
        max_retries: int,
        waiting: Callable[[AttemptKey, JobStatus], Waiting] = _nobody_knows,
    ) -> None:
        self._engine_name = engine_name
        self._max_retries = max_retries
        self._waiting = waiting

    def whole(self, record: records.JobRecord) -> job_service_pb2.Job:
        """A job with its output and its attempts."""
        message = self.listed(record)
        ending = record.newest.ending
        if ending is not None and ending.output_is_inline:
            message.output = types_pb2.MultiJobResult.FromString(ending.result).output
        pairs = list(zip([None, *record.attempts], record.attempts, strict=False))
        message.attempts.extend(
            self._attempt(each, self._reason(each, before))
            for before, each in pairs[-MAX_ATTEMPTS:]
        )
        # The engine is asked once, so that both say the same.
        for newest in message.attempts[-1:]:
            newest.reason = message.reason
            newest.engine_job_id = message.engine_job_id
            newest.slurm_job_id = message.slurm_job_id
        return message

    def listed(self, record: records.JobRecord) -> job_service_pb2.Job:
        """A job as it is listed: without its output and its attempts."""
        before = record.attempts[-2] if len(record.attempts) > 1 else None
        spec, waiting = record.spec, self._ask(record.newest.attempt)
        reason = self._reason(record.newest, before) or waiting.why
        newest = self._attempt(record.newest, reason, waiting.engine_job_id)
        message = job_service_pb2.Job(
            job_id=spec.job_id,
            method_name=spec.method_name,
            function_hash=spec.function_hash,
            inputs=dict(spec.inputs),
            engine=self._engine_name,
        )
        # The attempt's fields are the job's by the same names.
        for field, value in newest.ListFields():
            if field.message_type is None:
                setattr(message, field.name, value)
            else:
                getattr(message, field.name).CopyFrom(value)
        json_format.ParseDict(json.loads(spec.parameters_json), message.parameters)
        ending = record.newest.ending
        if ending is not None and record.newest.attempt.status is not JobStatus.COMPLETED:
            result = types_pb2.MultiJobResult.FromString(ending.result)
            message.error.CopyFrom(result.error)
        return message

    def _attempt(
        self, record: records.AttemptRecord, reason: str, engine_job_id: str = ""
    ) -> job_service_pb2.JobAttempt:
        """One run of a job; `engine_job_id` is its engine's word where none is stored yet."""
        message = _attempt_message(record, reason)
        message.engine_job_id = record.engine_job_id or engine_job_id
        if self._engine_name == SLURM:
            message.slurm_job_id = message.engine_job_id
        _add_usage(message, record.usage)
        if record.packing is not None:
            message.packing.CopyFrom(packings.message(record.packing))
        return message

    def _ask(self, attempt: records.Attempt) -> Waiting:
        """What only the engine can tell of an attempt that does not run yet."""
        is_waiting = attempt.status in _WAITING
        return self._waiting(attempt.key, attempt.status) if is_waiting else Waiting()

    def _reason(self, record: records.AttemptRecord, before: records.AttemptRecord | None) -> str:
        """Why an attempt is in its status; `before` is the one before it, if that is known."""
        attempt = record.attempt
        if record.ending is not None:
            return record.ending.reason
        if record.cancel_reason is not None:
            return f"Stopping: {record.cancel_reason}" if record.cancel_reason else "Stopping"
        if not attempt.retries or attempt.status is not JobStatus.PENDING:
            return ""
        # The setting may have been larger when it was decided.
        reason = f"Retry {attempt.retries} of {max(attempt.retries, self._max_retries)}"
        if before is not None:
            reason += f" after {before.attempt.status}"
        if record.due_at is not None:
            reason += f", not before {moments.text(record.due_at)}"
        return reason


def list_response(jobs: Sequence[bytes], next_page_token: str) -> bytes:
    """A page of encoded jobs."""
    closing = job_service_pb2.ListJobsResponse(next_page_token=next_page_token)
    return b"".join([*(wire.field(_JOBS, each) for each in jobs), closing.SerializeToString()])


def _attempt_message(record: records.AttemptRecord, reason: str) -> job_service_pb2.JobAttempt:
    attempt, ending = record.attempt, record.ending
    message = job_service_pb2.JobAttempt(
        attempt=attempt.key.number,
        status=words.STATUS_VALUE[attempt.status],
        create_time=moments.timestamp(attempt.created_at),
        node=record.node,
        reason=reason,
    )
    if attempt.started_at is not None:
        message.start_time.CopyFrom(moments.timestamp(attempt.started_at))
    if attempt.ended_at is not None:
        message.end_time.CopyFrom(moments.timestamp(attempt.ended_at))
    if ending is not None:
        message.output_hash = ending.output_hash
        message.output_size_bytes = ending.output_size_bytes
        if ending.exit_code is not None:
            message.exit_code = ending.exit_code
        if ending.signal is not None:
            message.signal = ending.signal
    return message


def _add_usage(message: job_service_pb2.JobAttempt, usage: Usage) -> None:
    if usage.queue_seconds is not None:
        message.queue_time.CopyFrom(moments.duration(usage.queue_seconds))
    if usage.cpu_seconds is not None:
        message.cpu_time.CopyFrom(moments.duration(usage.cpu_seconds))
    if usage.peak_memory_bytes is not None:
        message.peak_memory_bytes = usage.peak_memory_bytes
