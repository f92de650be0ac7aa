"""Uploads, downloads and what is missing."""

import grpc
import pytest

from dshpc.v1 import file_service_pb2
from support import calls, site


def _refused(parts: list[file_service_pb2.UploadFileRequest], service: calls.Service) -> str:
    refused = calls.refusal(lambda: service.files.UploadFile(iter(parts), timeout=30))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    return refused.text


def _missing(service: calls.Service, *hashes: str) -> list[str]:
    asked = file_service_pb2.FindMissingFilesRequest(file_hashes=hashes)
    return list(service.files.FindMissingFiles(asked).missing_hashes)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, 3_000_000])
def test_what_was_uploaded_is_downloaded(service: calls.Service, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert service.download(service.upload(content)) == content


def test_an_upload_of_what_is_stored_is_answered_with_the_first_labels(
    service: calls.Service,
) -> None:
    content = b"labelled once\n"
    first = service.files.UploadFile(
        calls.upload_parts(site.hash_of(content), content, filename="a.csv", media_type="text/csv")
    )
    again = service.files.UploadFile(
        calls.upload_parts(site.hash_of(content), content, filename="b.csv")
    )
    assert not first.already_existed
    assert again.already_existed
    assert (again.file.filename, again.file.media_type) == ("a.csv", "text/csv")
    assert again.file.create_time == first.file.create_time
    assert again.file.size_bytes == len(content)


def test_a_wrong_hash_is_refused_and_stores_nothing(service: calls.Service) -> None:
    parts = list(calls.upload_parts(site.hash_of(b"promised"), b"provided"))
    assert "file_hash" in _refused(parts, service)
    hashes = (site.hash_of(b"promised"), site.hash_of(b"provided"))
    assert _missing(service, *hashes) == list(hashes)


@pytest.mark.parametrize("announced", [3, 100])
def test_another_size_than_announced_is_refused(service: calls.Service, announced: int) -> None:
    content = b"of another size"
    parts = list(calls.upload_parts(site.hash_of(content), content, size_bytes=announced))
    assert "size_bytes" in _refused(parts, service)
    assert _missing(service, site.hash_of(content)) == [site.hash_of(content)]


def test_an_upload_without_header_or_with_two_is_refused(service: calls.Service) -> None:
    header, chunk = calls.upload_parts(site.hash_of(b"abc"), b"abc")
    assert "header" in _refused([chunk], service)
    assert "header" in _refused([], service)
    assert "chunk" in _refused([header, header], service)
    bad = file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(file_hash="../../etc/passwd", size_bytes=3)
    )
    assert "file_hash" in _refused([bad, chunk], service)


def test_a_hostile_file_name_is_a_label_and_nothing_else(service: calls.Service) -> None:
    name = "../../$(touch x)\n\u202e"
    answer = service.files.UploadFile(
        calls.upload_parts(site.hash_of(b"named"), b"named", filename=name)
    )
    assert answer.file.filename == name


def test_a_part_of_a_file_is_downloaded(service: calls.Service) -> None:
    content = bytes(range(256)) * 10_000
    file_hash = service.upload(content)
    assert service.download(file_hash, offset=1_500_000) == content[1_500_000:]
    assert service.download(file_hash, offset=10, limit=20) == content[10:30]
    assert service.download(file_hash, offset=len(content)) == b""
    refused = calls.refusal(lambda: service.download(file_hash, offset=len(content) + 1))
    assert "offset" in refused.text


def test_an_unknown_file_is_not_found(service: calls.Service) -> None:
    refused = calls.refusal(lambda: service.download("0" * 64))
    assert refused.code == grpc.StatusCode.NOT_FOUND


def test_missing_files_are_told_in_order_each_once(service: calls.Service) -> None:
    stored = service.upload(b"stored\n")
    output = service.run(calls.config("echo", stored, {"for": "missing"})).output_hash
    first, second = "1" * 64, "2" * 64
    assert _missing(service, second, stored, first, second, output) == [second, first]
    with pytest.raises(grpc.RpcError, match=r"file_hashes\[1\]"):
        _missing(service, first, "nonsense")
