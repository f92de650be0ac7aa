"""The names of the contract: what clients that exist spell out, none of which may go away.

Fields may be added. Names that this version does not have yet are not listed.
"""

import pytest
from google.protobuf import descriptor_pool

FIELDS = {
    "JobConfig": "file_hash method_name parameters config_id inputs function_hash resources timeout"
    " cache_policy",
    "InputRef": "file_hash",
    "Resources": "cpus memory_bytes gpus",
    "BatchOptions": "display_name cache_policy resubmit_policy validate_only"
    " max_inline_output_bytes max_response_bytes",
    "WaitPolicy": "until timeout",
    "StreamOptions": "include_transitions heartbeat_interval statistics_interval"
    " max_results_per_message",
    "SimulateJobsRequest": "jobs options wait",
    "SimulateJobsResponse": "results statistics batch_id next_page_token",
    "StreamSimulateJobsRequest": "jobs options wait stream",
    "StreamSimulateJobsResponse": "event_time accepted result results progress bookmark statistics",
    "BatchAccepted": "batch_id total_jobs",
    "MultiJobResult": "index config_id job_id new_status old_status output output_hash"
    " output_size_bytes output_truncated message file_hash method_name function_hash parameters"
    " outcome error attempt exit_code signal create_time start_time end_time duplicate_of_index",
    "JobStatistics": "total_jobs successful_submissions failed_submissions completed_jobs"
    " in_progress_jobs resubmitted_jobs failed_jobs cancelled_jobs skipped_jobs not_found_jobs"
    " found_completed_jobs found_in_progress_jobs submitted_jobs kept_failures withheld_jobs"
    " undecided_jobs final as_of",
    "GetJobRequest": "job_id wait known_status",
    "GetJobResponse": "job",
    "Job": "job_id method_name function_hash inputs parameters status attempt exit_code signal"
    " output output_hash output_size_bytes error create_time start_time end_time engine"
    " engine_job_id node reason attempts",
    "ListJobsRequest": "page_size page_token statuses method_name",
    "ListJobsResponse": "jobs next_page_token",
    "CancelJobRequest": "job_id reason",
    "CancelJobResponse": "job",
    "ReadJobLogRequest": "job_id log attempt offset tail_bytes limit_bytes follow",
    "ReadJobLogResponse": "data offset attempt finished",
    "ListBatchResultsRequest": "batch_id page_size page_token statuses outcomes"
    " max_inline_output_bytes",
    "ListBatchResultsResponse": "results next_page_token",
    "UploadFileRequest": "header chunk",
    "UploadHeader": "file_hash size_bytes write_offset filename media_type",
    "UploadFileResponse": "file already_existed",
    "File": "file_hash size_bytes filename media_type create_time last_used_time",
    "GetUploadRequest": "file_hash",
    "GetUploadResponse": "committed_bytes",
    "DownloadFileRequest": "file_hash offset limit",
    "DownloadFileResponse": "chunk",
    "FindMissingFilesRequest": "file_hashes",
    "FindMissingFilesResponse": "missing_hashes",
    "GetFileRequest": "file_hash",
    "GetFileResponse": "file",
    "DeleteFileRequest": "file_hash",
    "ListFilesRequest": "page_size page_token",
    "ListFilesResponse": "files next_page_token",
    "ListMethodsRequest": "page_size page_token",
    "ListMethodsResponse": "methods next_page_token",
    "GetMethodRequest": "method_name",
    "GetMethodResponse": "method versions",
    "Method": "method_name function_hash version description parameters inputs create_time active",
    "MethodParameter": "name type description required default_value",
    "GetServerInfoResponse": "version engine store slots limits features",
}
VALUES = {
    "JobStatus": "JOB_STATUS_ PENDING CONFIGURING RUNNING SUSPENDED COMPLETING COMPLETED FAILED"
    " CANCELLED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE PREEMPTED BLOCKED SKIPPED",
    "Outcome": "OUTCOME_ FOUND_COMPLETED FOUND_IN_PROGRESS SUBMITTED RESUBMITTED FAILURE_KEPT"
    " REJECTED NOT_FOUND WITHHELD PENDING",
    "Until": "UNTIL_ RESOLVED FINISHED",
    "CachePolicy": "CACHE_POLICY_ USE REFRESH BYPASS ONLY",
    "ResubmitPolicy": "RESUBMIT_POLICY_ ALWAYS RETRIABLE NEVER",
    "Log": "LOG_ STDOUT STDERR",
}
"""Of each enum: its prefix, then its values."""
CALLS = {
    "JobService": "SimulateJobs GetJob ListJobs CancelJob",
    "BatchService": "ListBatchResults",
    "FileService": "GetUpload FindMissingFiles ListFiles GetFile DeleteFile",
    "MethodService": "ListMethods GetMethod",
    "ServerService": "GetServerInfo",
}
STREAMS = {
    "JobService": "StreamSimulateJobs ReadJobLog",
    "FileService": "UploadFile DownloadFile",
}
POOL = descriptor_pool.Default()


@pytest.mark.parametrize("name", FIELDS)
def test_a_message_has_its_fields(name: str) -> None:
    message = POOL.FindMessageTypeByName(f"dshpc.v1.{name}")
    assert set(FIELDS[name].split()) - set(message.fields_by_name) == set()


@pytest.mark.parametrize("name", VALUES)
def test_an_enum_has_its_values_and_its_prefix(name: str) -> None:
    prefix, *values = VALUES[name].split()
    told = POOL.FindEnumTypeByName(f"dshpc.v1.{name}").values_by_name
    assert {f"{prefix}{value}" for value in values} | {f"{prefix}UNSPECIFIED"} == set(told)


@pytest.mark.parametrize(("calls", "is_stream"), [(CALLS, False), (STREAMS, True)])
def test_every_call_is_of_its_kind(calls: dict[str, str], is_stream: bool) -> None:  # noqa: FBT001 - a case
    for service, names in calls.items():
        told = POOL.FindServiceByName(f"dshpc.v1.{service}").methods_by_name
        for name in names.split():
            assert (told[name].client_streaming or told[name].server_streaming) is is_stream, name
