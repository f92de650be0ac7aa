"""Uploads and downloads are whole, verified and asked for first."""

import itertools
import pathlib

import grpc
import pytest

from dshpc.client import (
    Client,
    CorruptDownloadError,
    FileChangedError,
    LimitExceededError,
    NotFoundError,
    UploadProgress,
    channel,
    files,
)
from dshpc.v1 import file_service_pb2_grpc
from support.fake_rows import sha256
from support.fake_service import FakeService

MIB = 1 << 20


def test_a_file_is_uploaded_in_chunks_of_one_mebibyte(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    content = bytes(range(256)) * (10 * MIB // 1024)
    path = tmp_path / "table.csv"
    path.write_bytes(content)

    assert client.upload(path) == sha256(content)

    assert service.stored == {sha256(content): content}
    assert service.chunk_bytes == [MIB, MIB, MIB // 2]
    assert [header.filename for header in service.uploads] == ["table.csv"]


def test_an_empty_file_is_uploaded(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "empty"
    path.touch()

    assert client.upload(path) == sha256(b"")
    assert service.stored == {sha256(b""): b""}


def test_what_is_stored_is_not_sent_and_equal_content_is_sent_once(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(b"old")] = b"old"
    for name, content in (("old", b"old"), ("new", b"new"), ("twin", b"new")):
        (tmp_path / name).write_bytes(content)

    answers = client.upload_missing([tmp_path / name for name in ("old", "new", "twin")])

    assert [(a.path.name, a.file_hash, a.size_bytes, a.uploaded) for a in answers] == [
        ("old", sha256(b"old"), 3, False),
        ("new", sha256(b"new"), 3, True),
        ("twin", sha256(b"new"), 3, True),
    ]
    assert [header.file_hash for header in service.uploads] == [sha256(b"new")]
    assert service.find_missing_calls == 1


def test_progress_ends_with_everything_that_was_missing(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(b"old")] = b"old"
    for name in ("old", "one", "three"):
        (tmp_path / name).write_text(name)
    seen: list[UploadProgress] = []

    client.upload_missing([tmp_path / name for name in ("old", "one", "three")], seen.append)

    assert seen[-1] == UploadProgress(files_done=2, files_total=2, bytes_done=8, bytes_total=8)
    assert all(a.bytes_done <= b.bytes_done for a, b in itertools.pairwise(seen))


def test_many_hashes_are_asked_for_in_several_calls(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HASHES_PER_CALL", 2)
    hashes = [sha256(str(number).encode()) for number in range(5)]
    service.stored[hashes[3]] = b"3"

    assert client.find_missing([*hashes, hashes[0]]) == [*hashes[:3], hashes[4]]
    assert service.find_missing_calls == 3


@pytest.mark.parametrize("other", [b"short", b"sixteen letters!", b"much longer than before"])
def test_a_file_that_changes_while_it_is_uploaded_is_an_error(
    service: FakeService, tmp_path: pathlib.Path, other: bytes
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"sixteen letters.")
    as_hashed = files.read(path)
    path.write_bytes(other)

    with channel.connect(service.target) as connection:
        stub = file_service_pb2_grpc.FileServiceStub(connection)
        with pytest.raises(FileChangedError, match=r"table\.csv changed"):
            list(files.send(stub, as_hashed))

    assert not service.stored


def test_a_file_that_vanishes_is_an_oserror(service: FakeService, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"content")
    as_hashed = files.read(path)
    path.unlink()

    with channel.connect(service.target) as connection:
        stub = file_service_pb2_grpc.FileServiceStub(connection)
        with pytest.raises(FileNotFoundError):
            list(files.send(stub, as_hashed))

    assert not service.stored


def test_a_refused_upload_tells_why(service: FakeService, tmp_path: pathlib.Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"content")
    local = files.read(tmp_path / "table.csv")
    service.failure = (grpc.StatusCode.RESOURCE_EXHAUSTED, "over max_file_bytes", b"")

    with channel.connect(service.target) as connection:
        stub = file_service_pb2_grpc.FileServiceStub(connection)
        with pytest.raises(LimitExceededError, match="max_file_bytes"):
            list(files.send(stub, local))


def test_a_download_is_verified_and_replaces_what_was_there(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    content = b"\x00\xff binary"
    service.stored[sha256(content)] = content
    path = tmp_path / "output"
    path.write_text("old")

    assert client.download(sha256(content), path) == len(content)

    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_of_other_bytes_is_refused_and_leaves_what_was_there(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(b"right")] = b"right"
    service.corrupts_downloads = True
    path = tmp_path / "output"
    path.write_text("old")

    with pytest.raises(CorruptDownloadError) as caught:
        client.download(sha256(b"right"), path)

    assert caught.value.actual_hash == sha256(b"right!")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_of_nothing_leaves_nothing(client: Client, tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFoundError):
        client.download("0" * 64, tmp_path / "output")

    assert not list(tmp_path.iterdir())
