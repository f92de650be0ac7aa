"""FileService's servicer over a real content store, and uploads to it message by message."""

import asyncio
import hashlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any, cast

from dshpc.v1 import file_service_pb2
from dshpc_server import clock
from dshpc_server.batches import content as library
from dshpc_server.files import content
from dshpc_server.store import committer
from dshpc_server.transport import encoder, limits
from dshpc_server.transport.servicers import file

DATA = b"sample,value\n1,2\n"
HASH = hashlib.sha256(DATA).hexdigest()
SYSTEM_CLOCK = clock.SystemClock()
NO_CALL = cast("Any", None)
DEADLINE_SECONDS = 30.0


def header(
    data: bytes = DATA, *, size: int | None = None, write_offset: int = 0
) -> file_service_pb2.UploadFileRequest:
    """The first message of an upload of this data."""
    return file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(
            file_hash=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data) if size is None else size,
            write_offset=write_offset,
        )
    )


def chunk(data: bytes) -> file_service_pb2.UploadFileRequest:
    """A message with these bytes."""
    return file_service_pb2.UploadFileRequest(chunk=data)


CHUNK = chunk(DATA)


async def sent(
    *parts: file_service_pb2.UploadFileRequest, then_wait: bool = False
) -> AsyncIterator[file_service_pb2.UploadFileRequest]:
    """What a client sends, and then it waits or is done."""
    for part in parts:
        yield part
    if then_wait:
        await asyncio.Event().wait()


def servicer_of(
    kept: content.ContentStore,
    writing: committer.Committer,
    limits: limits.Limits,
    clock: clock.Clock = SYSTEM_CLOCK,
) -> file.FileServicer:
    """The servicer over this content store."""
    return file.FileServicer(
        content=kept,
        library=library.Library(
            content=kept, committer=writing, encoder=encoder.MultiJobResultEncoder()
        ),
        committer=writing,
        limits=limits,
        clock=clock,
    )


async def committed_bytes(servicer: file.FileServicer, file_hash: str = HASH) -> int:
    """What GetUpload answers."""
    asked = file_service_pb2.GetUploadRequest(file_hash=file_hash)
    return (await servicer.get_upload(asked, NO_CALL)).committed_bytes


async def until_committed(servicer: file.FileServicer, count: int) -> None:
    """Wait until so many bytes are committed."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await committed_bytes(servicer) != count:  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0)


def incoming(folder: pathlib.Path) -> list[pathlib.Path]:
    """What is in the folder of what is coming."""
    return list((folder / "files" / "incoming").iterdir())
