"""What is cut off goes on where it was, as often as the policy allows, and starts afresh once."""

import pathlib

import grpc
import pytest

from dshpc.client import (
    Client,
    InvalidRequestError,
    ServerUnavailableError,
    SupersededError,
    UploadProgress,
    files,
    uploads,
)
from dshpc.v1 import job_service_pb2
from support.fake_rows import sha256
from support.fake_service import FakeService

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
ATTEMPTS = 4
"""Failures in a row after which the clients of these tests give up."""
CONTENT = b"abcdefghijklmnopqrstuvwxyz"
JOB = "a" * 64


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 5)


@pytest.fixture
def log(service: FakeService) -> bytes:
    service.jobs[JOB] = job_service_pb2.Job(job_id=JOB, attempt=2)
    service.logs[JOB] = b"twenty-six bytes of a log."
    return service.logs[JOB]


# Uploads


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.ABORTED])
def test_an_upload_goes_on_at_the_byte_that_the_server_names(
    client: Client, service: FakeService, tmp_path: pathlib.Path, code: grpc.StatusCode
) -> None:
    (tmp_path / "letters").write_bytes(CONTENT)
    service.cut_code = code
    service.cuts["UploadFile"] = [2, 1]
    seen: list[UploadProgress] = []

    client.upload_missing([tmp_path / "letters"], seen.append)

    assert service.stored == {sha256(CONTENT): CONTENT}
    assert [header.write_offset for header in service.uploads] == [0, 10, 15]
    assert seen[-1].bytes_done == len(CONTENT)


def test_an_upload_that_cannot_begin_is_tried_again(client: Client, service: FakeService) -> None:
    service.refusals["UploadFile"] = [UNAVAILABLE, UNAVAILABLE]

    client.upload_bytes(CONTENT)

    assert service.stored == {sha256(CONTENT): CONTENT}
    assert service.asked["UploadFile"] == 3


def test_an_upload_without_progress_is_given_up(client: Client, service: FakeService) -> None:
    service.refusals["UploadFile"] = [UNAVAILABLE] * 10

    with pytest.raises(ServerUnavailableError, match="it is so"):
        client.upload_bytes(CONTENT)

    assert service.asked["UploadFile"] == ATTEMPTS


def test_an_upload_that_others_take_over_again_and_again_is_given_up(
    client: Client, service: FakeService
) -> None:
    service.refusals["UploadFile"] = [grpc.StatusCode.ABORTED] * 10

    with pytest.raises(SupersededError):
        client.upload_bytes(CONTENT)

    assert service.asked["UploadFile"] == ATTEMPTS


def test_an_upload_goes_on_from_something_wrong_once_and_then_starts_afresh(
    client: Client, service: FakeService
) -> None:
    service.corrupts_kept = True
    service.cuts["UploadFile"] = [3]

    client.upload_bytes(CONTENT)

    assert service.stored == {sha256(CONTENT): CONTENT}
    assert [header.write_offset for header in service.uploads] == [0, 15, 0]


def test_an_upload_does_not_start_afresh_twice(client: Client, service: FakeService) -> None:
    service.corrupts_kept = True
    service.cuts["UploadFile"] = [3, None, 3]

    with pytest.raises(InvalidRequestError, match="another hash"):
        client.upload_bytes(CONTENT)

    assert [header.write_offset for header in service.uploads] == [0, 15, 0, 15]


def test_a_large_upload_goes_on_where_an_earlier_program_left_it(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "ASK_FIRST_BYTES", len(CONTENT))
    service.kept[sha256(CONTENT)] = CONTENT[:20]

    client.upload_bytes(CONTENT)
    client.upload_bytes(CONTENT[1:])

    assert [header.write_offset for header in service.uploads] == [20, 0]
    assert service.asked["GetUpload"] == 1
    assert service.stored[sha256(CONTENT)] == CONTENT


# Downloads


def test_a_download_goes_on_at_the_byte_after_the_last_it_has(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(CONTENT)] = CONTENT
    service.cuts["DownloadFile"] = [2, 1]

    assert client.download(sha256(CONTENT), tmp_path / "letters") == len(CONTENT)

    assert (tmp_path / "letters").read_bytes() == CONTENT
    assert [request.offset for request in service.downloads] == [0, 14, 21]
    service.cuts["DownloadFile"] = [3]
    assert client.read(sha256(CONTENT)) == CONTENT
    assert service.downloads[-1].offset == 21
    assert service.downloads[-1].limit == files.READ_BYTES + 1 - 21


def test_a_download_that_never_begins_is_given_up_and_leaves_nothing(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(CONTENT)] = CONTENT
    service.refusals["DownloadFile"] = [UNAVAILABLE] * 10

    with pytest.raises(ServerUnavailableError):
        client.download(sha256(CONTENT), tmp_path / "letters")

    assert not list(tmp_path.iterdir())
    assert service.asked["DownloadFile"] == 4  # by gRPC itself


# Logs


def test_a_log_that_is_followed_goes_on_after_a_cut_with_the_same_attempt(
    client: Client, service: FakeService, log: bytes
) -> None:
    service.cuts["ReadJobLog"] = [2, 1]

    messages = list(client.log(JOB, tail_bytes=20, follow=True))

    assert b"".join(message.data for message in messages) == log[-20:]
    assert messages[-1].finished
    assert [(r.attempt, r.offset, r.tail_bytes) for r in service.log_requests] == [
        (0, 0, 20),
        (2, 14, 0),
        (2, 18, 0),
    ]


def test_a_log_with_a_limit_goes_on_with_what_is_left_of_it(
    client: Client, service: FakeService, log: bytes
) -> None:
    service.cuts["ReadJobLog"] = [2]

    messages = list(client.log(JOB, offset=3, limit_bytes=10, follow=True))

    assert b"".join(message.data for message in messages) == log[3:13]
    assert [(r.offset, r.limit_bytes) for r in service.log_requests] == [(3, 10), (11, 2)]


def test_a_cut_after_the_last_byte_that_was_wanted_cuts_nothing(
    client: Client, service: FakeService, log: bytes
) -> None:
    service.cuts["ReadJobLog"] = [2]

    messages = list(client.log(JOB, limit_bytes=8, follow=True))

    assert b"".join(message.data for message in messages) == log[:8]
    assert service.asked["ReadJobLog"] == 1


def test_a_followed_log_that_ends_before_its_attempt_goes_on(
    client: Client, service: FakeService, log: bytes
) -> None:
    service.cut_code = grpc.StatusCode.OK
    service.cuts["ReadJobLog"] = [2]

    messages = list(client.log(JOB, log=job_service_pb2.LOG_STDOUT, follow=True))

    assert b"".join(message.data for message in messages) == log
    assert [r.log for r in service.log_requests] == [job_service_pb2.LOG_STDOUT] * 2


def test_a_log_that_is_not_followed_ends_where_the_server_ends_it(
    client: Client, service: FakeService, log: bytes
) -> None:
    service.cut_code = grpc.StatusCode.OK
    service.cuts["ReadJobLog"] = [2]

    assert b"".join(message.data for message in client.log(JOB, attempt=1)) == log[:8]
