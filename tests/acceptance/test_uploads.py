"""Uploads that are cut: what came is kept, and the next call goes on with it."""

import threading
from concurrent import futures

import grpc
import pytest

from dshpc_server.files import receipt
from support import calls, site, uploads
from support.uploads import CHUNK_BYTES, CHUNKS, SIZE_BYTES


@pytest.mark.parametrize("chunks", range(CHUNKS + 1))
def test_an_upload_that_is_cut_at_any_chunk_goes_on_there(
    service: calls.Service, chunks: int
) -> None:
    content = uploads.content_of(f"cut at {chunks}")
    with uploads.held(service, content, chunks) as upload:
        upload.cut()
    committed = uploads.committed(service, upload.file_hash)
    assert committed == chunks * CHUNK_BYTES
    answer = uploads.send(service, content, committed)
    assert not answer.already_existed
    assert answer.file.size_bytes == len(content)
    assert service.download(upload.file_hash) == content
    assert uploads.committed(service, upload.file_hash) == len(content)


def test_one_upload_that_is_cut_again_and_again_ends_whole(service: calls.Service) -> None:
    content = uploads.content_of("cut again and again")
    file_hash = site.hash_of(content)
    for chunks in range(1, CHUNKS):
        offset = uploads.committed(service, file_hash)
        with uploads.held(service, content, 1, offset=offset):
            assert uploads.committed(service, file_hash) == chunks * CHUNK_BYTES
    uploads.send(service, content, uploads.committed(service, file_hash))
    assert service.download(file_hash) == content


def test_an_upload_goes_on_in_the_middle_of_a_chunk(service: calls.Service) -> None:
    content = uploads.content_of("middle")
    with uploads.held(service, content, 5):
        pass
    uploads.send(service, content, 4 * CHUNK_BYTES + 321)
    assert service.download(site.hash_of(content)) == content


def test_eight_uploads_of_one_file_at_a_time_all_succeed_and_store_it_once(
    service: calls.Service,
) -> None:
    content = uploads.content_of("eight") * 20
    together = threading.Barrier(8)

    def upload(_: int) -> bool:
        together.wait(uploads.DEADLINE_SECONDS)
        return uploads.send(service, content).already_existed

    with futures.ThreadPoolExecutor(8) as pool:
        existed = sorted(pool.map(upload, range(8)))
    assert existed == [False] + [True] * 7
    assert service.download(site.hash_of(content)) == content


def test_an_upload_that_goes_on_from_a_live_one_does_not_disturb_that(
    service: calls.Service,
) -> None:
    content = uploads.content_of("both live")
    with uploads.held(service, content, 6) as first:
        assert not uploads.send(service, content, 6 * CHUNK_BYTES).already_existed
        first.go_on()
        assert first.call.result().already_existed
    assert service.download(site.hash_of(content)) == content


def test_an_upload_that_has_stalled_is_taken_over_and_ends_aborted(
    service: calls.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt, "STALLED_SECONDS", 0.0)
    content = uploads.content_of("taken over")
    with uploads.held(service, content, 6) as first:
        answer = uploads.send(service, content, 6 * CHUNK_BYTES)
        assert not answer.already_existed
        first.go_on()
        refused = calls.refusal(first.call.result)
    assert refused.code == grpc.StatusCode.ABORTED
    assert "taken this upload over" in refused.text
    assert service.download(site.hash_of(content)) == content


def test_a_second_upload_from_the_beginning_does_not_disturb_the_first(
    service: calls.Service,
) -> None:
    content = uploads.content_of("side by side")
    with uploads.held(service, content, 6) as first:
        assert not uploads.send(service, content).already_existed
        first.go_on()
        assert first.call.result().already_existed


def test_wrong_bytes_are_forgotten_at_the_end_and_a_fresh_upload_works(
    service: calls.Service,
) -> None:
    content, wrong = uploads.content_of("right"), uploads.content_of("wrong")
    file_hash = site.hash_of(content)
    with uploads.held(service, wrong, 5, file_hash=file_hash):
        pass
    refused = calls.refusal(lambda: uploads.send(service, content, 5 * CHUNK_BYTES))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "header.file_hash" in refused.text
    assert uploads.committed(service, file_hash) == 0
    assert not uploads.send(service, content).already_existed
    assert service.download(file_hash) == content


def test_an_empty_file_is_uploaded_and_asked_for(service: calls.Service) -> None:
    file_hash = site.hash_of(b"")
    assert uploads.committed(service, file_hash) == 0
    assert uploads.send(service, b"").file.size_bytes == 0
    assert service.download(file_hash) == b""
    assert uploads.send(service, b"").already_existed


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        (-1, "negative"),
        (2 * CHUNK_BYTES + 1, f"committed, {2 * CHUNK_BYTES} bytes"),
        (SIZE_BYTES, f"committed, {2 * CHUNK_BYTES} bytes"),
        (SIZE_BYTES + 1, "beyond header.size_bytes"),
        (2**62, "beyond header.size_bytes"),
    ],
)
def test_a_wrong_offset_is_refused_and_what_is_committed_stays(
    service: calls.Service, offset: int, said: str
) -> None:
    content = uploads.content_of(f"offset {offset}")
    with uploads.held(service, content, 2) as upload:
        upload.cut()
    messages = list(uploads.parts(content))
    messages[0].header.write_offset = offset
    refused = calls.refusal(
        lambda: service.files.UploadFile(iter(messages), timeout=uploads.DEADLINE_SECONDS)
    )
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "header.write_offset" in refused.text
    assert said in refused.text
    assert uploads.committed(service, upload.file_hash) == 2 * CHUNK_BYTES


def test_what_is_stored_is_answered_whatever_the_offset(service: calls.Service) -> None:
    content = uploads.content_of("stored")
    uploads.send(service, content)
    assert uploads.send(service, content, 3 * CHUNK_BYTES).already_existed


def test_a_hash_that_is_none_has_no_upload(service: calls.Service) -> None:
    refused = calls.refusal(lambda: uploads.committed(service, "../../etc/passwd"))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("announced", [2 * CHUNK_BYTES, SIZE_BYTES + 1])
def test_another_size_than_announced_leaves_nothing(service: calls.Service, announced: int) -> None:
    content = uploads.content_of(f"announced {announced}")
    messages = uploads.parts(content, size_bytes=announced)
    refused = calls.refusal(
        lambda: service.files.UploadFile(messages, timeout=uploads.DEADLINE_SECONDS)
    )
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert uploads.committed(service, site.hash_of(content)) == 0
