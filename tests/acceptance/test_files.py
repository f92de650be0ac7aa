"""Uploads, downloads, what is stored and what is missing."""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from dshpc.v1 import file_service_pb2
from support import calls, file_calls, live_server, site


def _refused(parts: list[file_service_pb2.UploadFileRequest], service: calls.Service) -> str:
    refused = calls.refusal(lambda: service.files.UploadFile(iter(parts), timeout=30))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    return refused.text


def _page(
    service: calls.Service, token: str = "", *, size: int = 0
) -> file_service_pb2.ListFilesResponse:
    asked = file_service_pb2.ListFilesRequest(page_size=size, page_token=token)
    return service.files.ListFiles(asked, timeout=60)


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
    assert file_calls.missing(service, *hashes) == list(hashes)


@pytest.mark.parametrize("announced", [3, 100])
def test_another_size_than_announced_is_refused(service: calls.Service, announced: int) -> None:
    content = b"of another size"
    parts = list(calls.upload_parts(site.hash_of(content), content, size_bytes=announced))
    assert "size_bytes" in _refused(parts, service)
    assert file_calls.missing(service, site.hash_of(content)) == [site.hash_of(content)]


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


@pytest.mark.parametrize(
    ("offset", "limit", "part"),
    [
        (0, 0, slice(None)),
        (0, 1, slice(0, 1)),
        (1_500_000, 0, slice(1_500_000, None)),
        (10, 20, slice(10, 30)),
        (1_000_000, 1_500_000, slice(1_000_000, 2_500_000)),
        (2_559_990, 100, slice(2_559_990, None)),
        (2_559_999, 0, slice(-1, None)),
        (2_560_000, 0, slice(0, 0)),
        (2_560_000, 5, slice(0, 0)),
        (5, 2**62, slice(5, None)),
    ],
)
def test_a_part_of_a_file_is_downloaded(
    service: calls.Service, offset: int, limit: int, part: slice
) -> None:
    content = bytes(range(256)) * 10_000
    assert service.download(service.upload(content), offset=offset, limit=limit) == content[part]


@pytest.mark.parametrize(
    ("offset", "limit", "field"), [(6, 0, "offset"), (-1, 0, "offset"), (0, -1, "limit")]
)
def test_a_part_that_is_not_there_is_refused(
    service: calls.Service, offset: int, limit: int, field: str
) -> None:
    file_hash = service.upload(b"short")
    refused = calls.refusal(lambda: service.download(file_hash, offset=offset, limit=limit))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.text.startswith(f"{field}: ")


def test_an_unknown_file_is_not_found(service: calls.Service) -> None:
    refused = calls.refusal(lambda: service.download("0" * 64))
    assert refused.code == grpc.StatusCode.NOT_FOUND


def test_missing_files_are_told_in_order_each_once(service: calls.Service) -> None:
    stored = service.upload(b"stored\n")
    output = service.run(calls.config("echo", stored, {"for": "missing"})).output_hash
    first, second = "1" * 64, "2" * 64
    assert file_calls.missing(service, second, stored, first, second, output) == [second, first]
    with pytest.raises(grpc.RpcError, match=r"file_hashes\[1\]"):
        file_calls.missing(service, first, "nonsense")


def test_what_is_known_of_a_file_is_told(service: calls.Service) -> None:
    file_hash = service.upload(b"told\n", filename="told.txt")
    found = file_calls.labels(service, file_hash)
    assert (found.file_hash, found.filename, found.size_bytes) == (file_hash, "told.txt", 5)
    assert found.create_time == found.last_used_time
    service.run(calls.config("echo", file_hash))
    assert file_calls.labels(service, file_hash).last_used_time.ToNanoseconds() > (
        found.last_used_time.ToNanoseconds()
    )


def test_what_is_known_of_an_output_is_told_without_labels(service: calls.Service) -> None:
    short = service.run(calls.config("parameters", service.upload(b""), {"short": "output"}))
    found = file_calls.labels(service, short.output_hash)
    assert found.size_bytes == len(short.output)
    assert (found.filename, found.media_type) == ("", "")
    assert found.create_time == found.last_used_time == service.job(short.job_id).end_time
    long = service.run(
        calls.config("parameters", service.upload(b""), {"long": "x" * 60_000, "er": "y" * 6_000})
    )
    found = file_calls.labels(service, long.output_hash)
    assert found.size_bytes == long.output_size_bytes > 65_536
    assert found.file_hash in [file.file_hash for file in _page(service).files]


@pytest.mark.parametrize("name", ["GetFile", "DeleteFile"])
def test_a_file_that_is_not_there_is_not_found(service: calls.Service, name: str) -> None:
    ask, asked = _by_name(service, name)
    refused = calls.refusal(lambda: ask(asked(file_hash="0" * 64)))
    assert refused.code == grpc.StatusCode.NOT_FOUND
    refused = calls.refusal(lambda: ask(asked(file_hash="../../etc/passwd")))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT


def _by_name(service: calls.Service, name: str) -> tuple[Any, Any]:
    return getattr(service.files, name), getattr(file_service_pb2, f"{name}Request")


@pytest.fixture
def own_service(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> Iterator[calls.Service]:
    """A server of the test's own: nobody else's files are there."""
    settings = live_server.settings(tmp_path, methods_dir)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield calls.Service(channel)


@pytest.mark.parametrize("size", [1, 3, 7, 8, 0])
def test_the_files_are_listed_the_newest_first_in_pages(
    own_service: calls.Service, size: int
) -> None:
    uploaded = [own_service.upload(b"listed %d" % number) for number in range(7)]
    listed: list[str] = []
    token, pages = "", 0
    while True:
        page = _page(own_service, token, size=size)
        listed += [file.file_hash for file in page.files]
        pages += 1
        token = page.next_page_token
        if not token:
            break
        assert len(page.files) == size
    assert listed == uploaded[::-1]
    assert pages == -(-7 // (size or 7))


def test_files_that_come_between_two_pages_shift_nothing(own_service: calls.Service) -> None:
    uploaded = [own_service.upload(b"between %d" % number) for number in range(4)]
    first = _page(own_service, size=2)
    own_service.upload(b"newer than the first page")
    file_calls.delete(own_service, uploaded[3])
    second = _page(own_service, first.next_page_token, size=2)
    assert [file.file_hash for file in first.files] == [uploaded[3], uploaded[2]]
    assert [file.file_hash for file in second.files] == [uploaded[1], uploaded[0]]
    assert second.next_page_token == ""


def test_a_page_token_of_another_request_is_refused(own_service: calls.Service) -> None:
    for number in range(2):
        own_service.upload(b"token %d" % number)
    token = _page(own_service, size=1).next_page_token
    for foreign in (token[:-3], "nonsense", token + "A", "é"):
        refused = calls.refusal(functools.partial(_page, own_service, foreign))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
        assert "page_token" in refused.text
    refused = calls.refusal(lambda: _page(own_service, size=-1))
    assert "page_size" in refused.text
