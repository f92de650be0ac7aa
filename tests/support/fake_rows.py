"""Rows of a batch as a server would answer them, and the statistics over them."""

import hashlib

from google.rpc import error_details_pb2, status_pb2

from dshpc.v1 import types_pb2


def completed(
    index: int, config: types_pb2.JobConfig, *, output: str | None = None
) -> types_pb2.MultiJobResult:
    """A row that was found completed."""
    text = f"output {index}" if output is None else output
    return types_pb2.MultiJobResult(
        index=index,
        config_id=config.config_id,
        job_id="a" * 64,
        new_status=types_pb2.JOB_STATUS_COMPLETED,
        outcome=types_pb2.OUTCOME_FOUND_COMPLETED,
        output=text,
        output_hash=sha256(text.encode()),
        output_size_bytes=len(text.encode()),
        method_name=config.method_name,
        file_hash=config.file_hash,
        message="Completed job found",
    )


def failed(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """A row whose job ran and failed."""
    return types_pb2.MultiJobResult(
        index=index,
        config_id=config.config_id,
        job_id="b" * 64,
        new_status=types_pb2.JOB_STATUS_FAILED,
        outcome=types_pb2.OUTCOME_SUBMITTED,
        exit_code=3,
        method_name=config.method_name,
        error=status_pb2.Status(code=2, message="starting\nno such column: age\n"),
    )


def rejected(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """A row without a job."""
    return types_pb2.MultiJobResult(
        index=index,
        config_id=config.config_id,
        outcome=types_pb2.OUTCOME_REJECTED,
        method_name=config.method_name,
        message=f"Method '{config.method_name}' not found",
    )


def lacking_a_file(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """A row that was rejected for nothing but an input that the server lacks."""
    row = rejected(index, config)
    row.error.message = row.message = "an input is not stored"
    row.error.details.add().Pack(error_details_pb2.ErrorInfo(reason="FILE_NOT_FOUND"))
    return row


def kept(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """A row whose job failed before and is not run again."""
    row = failed(index, config)
    row.outcome = types_pb2.OUTCOME_FAILURE_KEPT
    row.old_status = types_pb2.JOB_STATUS_FAILED
    row.message = "Failed before; not run again"
    return row


def unknown(index: int, config: types_pb2.JobConfig) -> types_pb2.MultiJobResult:
    """A row whose job is not known and was not to be submitted."""
    return types_pb2.MultiJobResult(
        index=index,
        config_id=config.config_id,
        job_id="d" * 64,
        outcome=types_pb2.OUTCOME_NOT_FOUND,
        method_name=config.method_name,
        message="No such job",
    )


def moving(
    index: int, config: types_pb2.JobConfig, status: types_pb2.JobStatus.ValueType
) -> types_pb2.MultiJobResult:
    """A row whose job has not ended."""
    return types_pb2.MultiJobResult(
        index=index,
        config_id=config.config_id,
        job_id="c" * 64,
        new_status=status,
        outcome=types_pb2.OUTCOME_SUBMITTED,
    )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def statistics(rows: list[types_pb2.MultiJobResult]) -> types_pb2.JobStatistics:
    """Count rows made by this module."""

    def by_status(*statuses: types_pb2.JobStatus.ValueType) -> int:
        return sum(row.new_status in statuses for row in rows)

    def by_outcome(outcome: types_pb2.Outcome.ValueType) -> int:
        return sum(row.outcome == outcome for row in rows)

    in_progress = by_status(types_pb2.JOB_STATUS_PENDING, types_pb2.JOB_STATUS_RUNNING)
    submitted = by_outcome(types_pb2.OUTCOME_SUBMITTED)
    return types_pb2.JobStatistics(
        total_jobs=len(rows),
        successful_submissions=submitted,
        failed_submissions=by_outcome(types_pb2.OUTCOME_REJECTED),
        completed_jobs=by_status(types_pb2.JOB_STATUS_COMPLETED),
        in_progress_jobs=in_progress,
        failed_jobs=by_status(types_pb2.JOB_STATUS_FAILED),
        found_completed_jobs=by_outcome(types_pb2.OUTCOME_FOUND_COMPLETED),
        submitted_jobs=submitted,
        kept_failures=by_outcome(types_pb2.OUTCOME_FAILURE_KEPT),
        not_found_jobs=by_outcome(types_pb2.OUTCOME_NOT_FOUND),
        final=not in_progress,
    )
