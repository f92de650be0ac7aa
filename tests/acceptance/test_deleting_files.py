"""Deleting files and outputs: they are gone everywhere, unless a job still needs them."""

import pathlib

import grpc
import pytest

from dshpc.v1 import file_service_pb2, types_pb2
from support import calls, file_calls, site


def _listed(service: calls.Service) -> list[str]:
    listed = service.files.ListFiles(file_service_pb2.ListFilesRequest(), timeout=60)
    return [file.file_hash for file in listed.files]


def test_a_deleted_file_is_gone_and_can_be_uploaded_again(service: calls.Service) -> None:
    file_hash = service.upload(b"to be deleted\n")
    file_calls.delete(service, file_hash)
    assert file_calls.missing(service, file_hash) == [file_hash]
    refused = calls.refusal(lambda: service.download(file_hash))
    assert refused.code == grpc.StatusCode.NOT_FOUND
    assert file_hash not in _listed(service)
    refused = calls.refusal(lambda: file_calls.delete(service, file_hash))
    assert refused.code == grpc.StatusCode.NOT_FOUND
    assert service.download(service.upload(b"to be deleted\n")) == b"to be deleted\n"


def test_deletion_is_refused_while_an_unfinished_job_needs_the_file_and_allowed_after(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    file_hash = service.upload(gate.content)
    config = calls.config("hold", file_hash)
    service.simulate(config)
    refused = calls.refusal(lambda: file_calls.delete(service, file_hash))
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    assert file_calls.missing(service, file_hash) == []
    gate.open()
    service.run(config)
    file_calls.delete(service, file_hash)
    assert file_calls.missing(service, file_hash) == [file_hash]


@pytest.mark.parametrize("size", [10, 70_000])
def test_a_job_whose_output_was_deleted_runs_again(service: calls.Service, size: int) -> None:
    text = "x" * (size // 2)
    config = calls.config("parameters", service.upload(b"any"), {"one": text, "two": text[::-1]})
    first = service.run(config)
    assert service.run(config).outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    file_calls.delete(service, first.output_hash)
    assert file_calls.missing(service, first.output_hash) == [first.output_hash]
    refused = calls.refusal(lambda: service.download(first.output_hash))
    assert refused.code == grpc.StatusCode.NOT_FOUND
    again = service.run(config)
    assert again.outcome == types_pb2.OUTCOME_SUBMITTED
    assert again.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert again.attempt == first.attempt + 1
    assert again.output_hash == first.output_hash
    assert len(service.download(first.output_hash)) == first.output_size_bytes


def test_an_answer_of_before_has_no_output_any_more_when_that_was_deleted(
    service: calls.Service,
) -> None:
    secret = "a secret of ours"
    config = calls.config("parameters", service.upload(b"any"), {"text": secret})
    result = service.run(config)
    assert secret in result.output
    file_calls.delete(service, result.output_hash)
    job = service.job(result.job_id)
    assert secret not in job.output
    assert job.output_hash == result.output_hash


def test_an_output_that_is_uploaded_too_gets_labels_and_is_deleted_whole(
    service: calls.Service,
) -> None:
    config = calls.config("parameters", service.upload(b"any"), {"also": "uploaded"})
    output = service.run(config).output
    uploaded = service.upload(output.encode(), filename="mine.json")
    assert file_calls.labels(service, uploaded).filename == "mine.json"
    file_calls.delete(service, uploaded)
    assert file_calls.missing(service, uploaded) == [uploaded]
    refused = calls.refusal(lambda: file_calls.labels(service, uploaded))
    assert refused.code == grpc.StatusCode.NOT_FOUND
