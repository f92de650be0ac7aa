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
    PreconditionError,
    TooLargeError,
    UploadProgress,
    files,
    uploads,
)
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
    assert service.asked["GetUpload"] == 0


def test_an_empty_file_is_uploaded(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "empty"
    path.touch()

    assert client.upload(path) == sha256(b"")
    assert service.stored == {sha256(b""): b""}


def test_bytes_are_uploaded_unless_they_are_stored(client: Client, service: FakeService) -> None:
    assert client.upload_bytes(b"some data", filename="data.txt") == sha256(b"some data")
    assert client.upload_bytes(b"some data") == sha256(b"some data")

    assert service.stored == {sha256(b"some data"): b"some data"}
    assert [header.filename for header in service.uploads] == ["data.txt"]


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
    monkeypatch.setattr(uploads, "HASHES_PER_CALL", 2)
    hashes = [sha256(str(number).encode()) for number in range(5)]
    service.stored[hashes[3]] = b"3"

    assert client.find_missing([*hashes, hashes[0]]) == [*hashes[:3], hashes[4]]
    assert service.find_missing_calls == 3


@pytest.mark.parametrize("other", [b"short", b"sixteen letters!", b"much longer than before"])
def test_a_file_that_changes_while_it_is_uploaded_is_an_error(
    client: Client,
    service: FakeService,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    other: bytes,
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"sixteen letters.")
    as_hashed = files.read(path)
    monkeypatch.setattr(files, "read", lambda _: as_hashed)
    path.write_bytes(other)

    with pytest.raises(FileChangedError, match=r"table\.csv changed"):
        client.upload(path)

    assert not service.stored


def test_a_file_that_vanishes_is_an_oserror(
    client: Client, service: FakeService, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"content")
    as_hashed = files.read(path)
    monkeypatch.setattr(files, "read", lambda _: as_hashed)
    path.unlink()

    with pytest.raises(FileNotFoundError):
        client.upload(path)

    assert not service.stored


def test_a_refused_upload_tells_why(client: Client, service: FakeService) -> None:
    service.refusals["UploadFile"] = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "over max_file_bytes")]

    with pytest.raises(LimitExceededError, match="max_file_bytes"):
        client.upload_bytes(b"content")

    assert service.asked["UploadFile"] == 1


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
    with pytest.raises(CorruptDownloadError):
        client.read(sha256(b"right"))

    assert caught.value.actual_hash == sha256(b"right!")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_of_nothing_leaves_nothing(client: Client, tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFoundError):
        client.download("0" * 64, tmp_path / "output")

    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_named(
    client: Client, service: FakeService, tmp_path: pathlib.Path
) -> None:
    file_hash = sha256(b"content")
    service.stored[file_hash] = b"content"
    (tmp_path / "folder").mkdir()

    for path, kind in (
        (tmp_path / "absent" / "here", FileNotFoundError),
        (tmp_path / "folder", IsADirectoryError),
    ):
        with pytest.raises(kind) as caught:
            client.download(file_hash, path)
        assert caught.value.filename == str(path)

    assert list(tmp_path.rglob("*")) == [tmp_path / "folder"]


def test_small_content_is_read_into_memory_and_no_more_than_that(
    client: Client, service: FakeService
) -> None:
    service.stored = {sha256(b""): b"", sha256(b"eight by"): b"eight by"}

    assert client.read(sha256(b"")) == b""
    assert client.read(sha256(b"eight by"), max_bytes=8) == b"eight by"
    with pytest.raises(TooLargeError, match="larger than 7 bytes"):
        client.read(sha256(b"eight by"), max_bytes=7)

    assert [request.limit for request in service.downloads] == [files.READ_BYTES + 1, 9, 8]


def test_stored_files_are_described_listed_and_removed(
    client: Client, service: FakeService
) -> None:
    hashes = [client.upload_bytes(b"%d" % number, filename=f"{number}") for number in range(5)]

    assert client.file(hashes[3]).filename == "3"
    assert [file.file_hash for file in client.files()] == hashes
    client.delete_file(hashes[3])
    assert [file.filename for file in client.files(page_size=1)] == ["0", "1", "2", "4"]
    with pytest.raises(NotFoundError):
        client.delete_file(hashes[3])
    service.needed.add(hashes[0])
    with pytest.raises(PreconditionError, match="unfinished job"):
        client.delete_file(hashes[0])
