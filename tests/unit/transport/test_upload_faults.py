"""Uploads that find no room, and uploads of what another server is just removing."""

import errno
import os
import pathlib

import pytest

from dshpc_server import errors
from dshpc_server.batches import content as library
from dshpc_server.files import content, room
from dshpc_server.store import committer, port
from dshpc_server.transport.servicers import file
from support import transport_uploads as uploads
from support import transport_values as values
from support.transport_uploads import CHUNK, DATA, HASH, NO_CALL


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(tmp_path / "files", room=room.Room(tmp_path, 0))


@pytest.fixture
def servicer(kept: content.ContentStore, writing: committer.Committer) -> file.FileServicer:
    return uploads.servicer_of(kept, writing, values.within(max_file_bytes=1 << 62))


async def test_an_upload_for_which_there_is_no_room_is_refused_at_its_header(
    servicer: file.FileServicer, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.NoRoomError, match="there is no room on disk"):
        await servicer.upload_file(
            uploads.sent(uploads.header(size=1 << 60), then_wait=True), NO_CALL
        )
    assert uploads.incoming(tmp_path) == []


async def test_an_upload_that_fills_the_disk_says_so_and_goes_on_when_there_is_room(
    servicer: file.FileServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 9:
            return write(descriptor, data[:9])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(errors.NoRoomError, match="there is no room on disk"):
            await servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    assert await uploads.committed_bytes(servicer) == 9
    answer = await servicer.upload_file(
        uploads.sent(uploads.header(write_offset=9), uploads.chunk(DATA[9:])), NO_CALL
    )
    assert not answer.already_existed


async def test_an_upload_of_what_is_being_deleted_can_be_tried_again(
    servicer: file.FileServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def going(*_: object) -> None:
        raise port.ContentGoingError(HASH)

    monkeypatch.setattr(library, "GOING_PAUSES_SECONDS", (0.0, 0.001))
    with monkeypatch.context() as patched:
        patched.setattr(committer.Committer, "write", going)
        with pytest.raises(errors.BeingRemovedError, match="is being removed"):
            await servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    answer = await servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    assert answer.file.size_bytes == len(DATA)


async def test_an_upload_whose_content_another_server_removes_meanwhile_is_not_answered(
    servicer: file.FileServicer, kept: content.ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = committer.Committer.write

    async def removed_before(*asked: object) -> object:
        monkeypatch.setattr(committer.Committer, "write", write)
        assert kept.remove(HASH)
        return await write(*asked)  # type: ignore[arg-type] # whatever it is asked

    monkeypatch.setattr(committer.Committer, "write", removed_before)
    with pytest.raises(errors.BeingRemovedError):
        await servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    assert not (
        await servicer.upload_file(uploads.sent(uploads.header(), CHUNK), NO_CALL)
    ).already_existed
