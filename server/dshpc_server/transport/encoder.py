"""The encoder of answers: MultiJobResult in parts whose bytes are joined.

Fills the port `batches.encoding.ResultEncoder`. Every part is a MultiJobResult with some of its
fields; which of two values for one field counts is settled by the order of joining.
"""

import datetime
from collections.abc import Callable, Sequence

from google.protobuf import any_pb2, message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from dshpc.v1 import types_pb2
from dshpc_server.batches import encoding
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lookup import Kept
from dshpc_server.domain.rejection import Reason, Rejection
from dshpc_server.store import records
from dshpc_server.transport import moments, packings, words

ERROR_DOMAIN = "dshpc"
MAX_ERROR_MESSAGE_CHARACTERS = 1024
"""A rejection's text; the log's tail of a failed job is limited where it is read."""
MAX_UPSTREAMS_TOLD = 10
"""Of those that a row waits for."""
MAX_VIOLATIONS = 16
"""More would not be read, and an error stays small."""

DECISION_MESSAGES = {
    Outcome.FOUND_COMPLETED: "Completed job found",
    Outcome.FOUND_IN_PROGRESS: "Job in progress",
    Outcome.SUBMITTED: "New job submitted",
    Outcome.RESUBMITTED: "New job submitted after previous failure",
    Outcome.NOT_FOUND: "No such job, and cache_policy ONLY submits none",
    Outcome.WITHHELD: "Job not submitted",
    Outcome.PENDING: "Waits for other jobs",
}
"""What a row says when it was looked up; for FAILURE_KEPT see KEPT_MESSAGES."""
KEPT_MESSAGES = {
    Kept.ONLY: "Previous failure kept: cache_policy ONLY submits nothing",
    Kept.NEVER: "Previous failure kept: resubmit_policy NEVER submits nothing again",
    Kept.PERMANENT: "Previous failure kept: the method called it permanent (exit code 78), and"
    " resubmit_policy RETRIABLE heeds that",
    Kept.MAX_ATTEMPTS: "Previous failure kept: the job failed max_attempts times within 24 hours;"
    " cache_policy REFRESH starts afresh",
}
"""What a row says when an earlier failure is its answer."""
VALIDATION_MESSAGES = {
    Outcome.SUBMITTED: "New job would be submitted",
    Outcome.RESUBMITTED: "New job would be submitted after previous failure",
}
"""What a row says that was only validated, where its decision says what did not happen."""
REJECTION_CODES = {
    Reason.METHOD_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.FILE_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.INVALID_PARAMETERS: code_pb2.INVALID_ARGUMENT,
    Reason.INVALID_INPUTS: code_pb2.INVALID_ARGUMENT,
    Reason.INVALID_CONFIG: code_pb2.INVALID_ARGUMENT,
    Reason.RESOURCES_UNAVAILABLE: code_pb2.FAILED_PRECONDITION,
}
"""The code in `error` of a rejected row."""
FAILURE_CODES = {
    JobStatus.FAILED: code_pb2.UNKNOWN,
    JobStatus.CANCELLED: code_pb2.CANCELLED,
    JobStatus.TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    JobStatus.NODE_FAIL: code_pb2.UNAVAILABLE,
    JobStatus.OUT_OF_MEMORY: code_pb2.RESOURCE_EXHAUSTED,
    JobStatus.BOOT_FAIL: code_pb2.FAILED_PRECONDITION,
    JobStatus.DEADLINE: code_pb2.DEADLINE_EXCEEDED,
    JobStatus.PREEMPTED: code_pb2.ABORTED,
    JobStatus.SKIPPED: code_pb2.FAILED_PRECONDITION,
}
"""The code in `error` of a job that ended without completing."""


class MultiJobResultEncoder:
    """Encodes the parts of a MultiJobResult."""

    def __init__(self) -> None:
        self._decisions: dict[tuple[Outcome, JobStatus | None, Kept | None], bytes] = {}

    def duplicate(self, first_index: int) -> bytes:
        """Mark a later row with the job of `first_index`."""
        return types_pb2.MultiJobResult(duplicate_of_index=first_index).SerializeToString()

    def identity(self, job_id: str, function_hash: str) -> bytes:
        """Name the job in a row's head."""
        return types_pb2.MultiJobResult(
            job_id=job_id, function_hash=function_hash
        ).SerializeToString()

    def waiting(self, upstreams: Sequence[str]) -> bytes:
        """What a row waits for."""
        told = list(upstreams[:MAX_UPSTREAMS_TOLD])
        if len(upstreams) > len(told):
            told[-1] += f" and {len(upstreams) - len(told)} more"
        return types_pb2.MultiJobResult(message=f"Waits for {', '.join(told)}").SerializeToString()

    def input(self, file_hash: str) -> bytes:
        """The input called "input"."""
        return types_pb2.MultiJobResult(file_hash=file_hash).SerializeToString()

    def rejection(self, config_index: int, rejection: Rejection) -> bytes:
        """Why a row of this config names no job."""
        return types_pb2.MultiJobResult(
            outcome=types_pb2.OUTCOME_REJECTED,
            message=rejection.message[:MAX_ERROR_MESSAGE_CHARACTERS],
            error=_rejection_status(config_index, rejection),
        ).SerializeToString()

    def decision(self, outcome: Outcome, old_status: JobStatus | None, kept: Kept | None) -> bytes:
        """What the look-up decided; few kinds, so each is encoded once."""
        key = (outcome, old_status, kept)
        if key not in self._decisions:
            self._decisions[key] = types_pb2.MultiJobResult(
                outcome=words.OUTCOME_VALUE[outcome],
                old_status=words.STATUS_VALUE[old_status]
                if old_status is not None
                else types_pb2.JOB_STATUS_UNSPECIFIED,
                message=DECISION_MESSAGES[outcome] if kept is None else KEPT_MESSAGES[kept],
                new_status=types_pb2.JOB_STATUS_BLOCKED
                if outcome is Outcome.PENDING
                else types_pb2.JOB_STATUS_UNSPECIFIED,
            ).SerializeToString()
        return self._decisions[key]

    def validation(self, outcome: Outcome) -> bytes:
        """That the decision did not happen; other rows say already what is so."""
        if outcome not in VALIDATION_MESSAGES:
            return b""
        return types_pb2.MultiJobResult(message=VALIDATION_MESSAGES[outcome]).SerializeToString()

    def in_progress(self, attempt: records.Attempt) -> bytes:
        """An attempt that has not ended."""
        result = types_pb2.MultiJobResult(
            job_id=attempt.key.job_id,
            new_status=words.STATUS_VALUE[attempt.status],
            function_hash=attempt.function_hash,
            attempt=attempt.key.number,
            create_time=moments.timestamp(attempt.created_at),
        )
        if attempt.started_at is not None:
            result.start_time.CopyFrom(moments.timestamp(attempt.started_at))
        return result.SerializeToString()

    def ended(self, attempt: encoding.EndedAttempt) -> bytes:
        """An attempt that has ended."""
        result = types_pb2.MultiJobResult(
            job_id=attempt.key.job_id,
            new_status=words.STATUS_VALUE[attempt.status],
            function_hash=attempt.function_hash,
            attempt=attempt.key.number,
            exit_code=attempt.exit_code,
            signal=attempt.signal,
            create_time=moments.timestamp(attempt.created_at),
            end_time=moments.timestamp(attempt.ended_at),
            message=_ended_message(attempt),
        )
        if attempt.started_at is not None:
            result.start_time.CopyFrom(moments.timestamp(attempt.started_at))
        if attempt.status is not JobStatus.COMPLETED:
            result.error.CopyFrom(_failure_status(attempt))
        if attempt.output is not None:
            _add_output(result, attempt.output)
        if attempt.packing is not None:
            result.packing.CopyFrom(packings.message(attempt.packing))
        return result.SerializeToString()

    def row_ending(
        self,
        status: JobStatus,
        reason: str,
        ended_at: datetime.datetime,
        attempt: records.Attempt | None,
    ) -> bytes:
        """How a row ended by itself, with the attempt that it was tied to."""
        result = types_pb2.MultiJobResult(
            new_status=words.STATUS_VALUE[status],
            message=f"Row ended as {status}: {reason}",
            error=status_pb2.Status(
                code=FAILURE_CODES[status], message=reason, details=[_error_info(str(status))]
            ),
            end_time=moments.timestamp(ended_at),
        )
        # Of two values the last one counts.
        return (b"" if attempt is None else self.in_progress(attempt)) + result.SerializeToString()

    def output(self, result: bytes) -> bytes | None:
        """The whole output back from an encoded result."""
        decoded = types_pb2.MultiJobResult.FromString(result)
        return decoded.output.encode() if decoded.HasField("output") else None

    def without_output(self, result: bytes) -> bytes:
        """A result with its output taken out."""
        decoded = types_pb2.MultiJobResult.FromString(result)
        decoded.ClearField("output")
        decoded.output_truncated = True
        return decoded.SerializeToString()

    def with_output(
        self, result: bytes, max_bytes: int, read: Callable[[str], str | None]
    ) -> bytes:
        """A result with its output inline if and only if that has at most `max_bytes`."""
        decoded = types_pb2.MultiJobResult.FromString(result)
        is_wanted = decoded.output_size_bytes <= max_bytes
        if is_wanted == decoded.HasField("output"):
            return result
        if not is_wanted:
            return self.without_output(result)
        text = read(decoded.output_hash)
        if text is None:
            return result
        decoded.output = text
        decoded.output_truncated = False
        return decoded.SerializeToString()


def _add_output(result: types_pb2.MultiJobResult, output: encoding.Output) -> None:
    result.output_hash = output.output_hash
    result.output_size_bytes = output.size_bytes
    if output.text is None:
        result.output_truncated = True
    else:
        result.output = output.text


def _ended_message(attempt: encoding.EndedAttempt) -> str:
    if attempt.status is JobStatus.COMPLETED:
        return "Job completed"
    return f"Job ended as {attempt.status}: {attempt.reason}"


def _failure_status(attempt: encoding.EndedAttempt) -> status_pb2.Status:
    message = attempt.reason
    if attempt.stderr_tail:
        message += "\n" + attempt.stderr_tail
    return status_pb2.Status(
        code=FAILURE_CODES[attempt.status],
        message=message,
        details=[_error_info(str(attempt.status))],
    )


def _rejection_status(config_index: int, rejection: Rejection) -> status_pb2.Status:
    status = status_pb2.Status(
        code=REJECTION_CODES[rejection.reason],
        message=rejection.message[:MAX_ERROR_MESSAGE_CHARACTERS],
        details=[_error_info(str(rejection.reason))],
    )
    if rejection.violations:
        status.details.append(
            packed(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=f"jobs[{config_index}].{violation.field}"[:256],
                            description=violation.description[:256],
                        )
                        for violation in rejection.violations[:MAX_VIOLATIONS]
                    ]
                )
            )
        )
    return status


def _error_info(reason: str) -> any_pb2.Any:
    return packed(error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN))


def packed(detail: message.Message) -> any_pb2.Any:
    """Return a message as an Any."""
    wrapped = any_pb2.Any()
    wrapped.Pack(detail)
    return wrapped
