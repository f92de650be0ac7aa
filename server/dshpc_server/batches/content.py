"""Content by hash, wherever it lies: files and long outputs on disk, short outputs in the store.

Promises: a hash that the service has told anybody is found here, as bytes or as a path, until it is
deleted, and the content hashes to its name. What is held is not deleted by this server meanwhile; a
deletion that is under way here has ended before anybody is told what is missing. What is held and
deleted is kept on the event loop alone; between servers the store keeps apart who needs content and
who deletes it.

Deleting has two steps, so that a crash between them leaves what any server can end: the store marks
the content, from when on nobody can need it; then it is removed and forgotten, in one transaction,
so that of several who are at it one removes it, and nobody removes what was put anew since.
"""

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import io
import os
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

import structlog

from dshpc_server import crashing, disk, errors
from dshpc_server.batches import encoding
from dshpc_server.files import content as files
from dshpc_server.files import staying
from dshpc_server.store import committer, port, records

_USER = "a request that is being answered"
GOING_PAUSES_SECONDS = (0.02, 0.1, 0.4, 0.8)
"""How long the end of another server's deletion is waited for, each time before trying again."""

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _ShortOutput:
    """An output that a result holds, and when its attempt ended."""

    data: bytes
    ended_at: datetime.datetime


class Library:
    """Finds content in the content store and in the store's results, and deletes it."""

    def __init__(
        self,
        *,
        content: files.ContentStore,
        committer: committer.Committer,
        encoder: encoding.ResultEncoder,
        is_shared: bool = False,
    ) -> None:
        """`is_shared`: other servers delete content, too."""
        self._is_shared = is_shared
        self._content = content
        self._committer = committer
        self._encoder = encoder
        self._held: collections.Counter[str] = collections.Counter()
        """How often each hash is held."""
        self._deleting: dict[str, asyncio.Event] = {}
        """Hashes being deleted, and what tells the end of it."""

    @contextlib.contextmanager
    def held(self, hashes: Collection[str]) -> Iterator[None]:
        """Refuse to delete these; a deletion that is under way is waited for by `missing`."""
        held = frozenset(hashes)
        self._held.update(held)
        try:
            yield
        finally:
            self._held.subtract(held)
            for file_hash in held:
                if not self._held[file_hash]:
                    del self._held[file_hash]

    async def missing(self, hashes: Collection[str]) -> list[str]:
        """Which of these are not stored, in the order asked, each once."""
        await self.settled(hashes)
        absent = await asyncio.to_thread(self._content.missing, hashes)
        if not absent:
            return []
        outputs = await self._committer.read(lambda store: store.find_outputs(absent))
        return [file_hash for file_hash in absent if file_hash not in outputs]

    async def lost(self, hashes: Collection[str]) -> set[str]:
        """Which of these outputs are not in the content store."""
        await self.settled(hashes)
        return set(await asyncio.to_thread(self._content.missing, hashes))

    async def on_disk(self, hashes: Collection[str]) -> Sequence[str]:
        """Those in the content store, if other servers may remove them; see `check_there`."""
        if not self._is_shared:
            return []
        missing = set(await asyncio.to_thread(self._content.missing, hashes))
        return [file_hash for file_hash in hashes if file_hash not in missing]

    def check_there(self, hashes: Collection[str]) -> None:
        """Raise ContentGoingError if any of these is not in the content store any more.

        For a transaction that needs them: what had been deleted before it is gone by now, and
        nothing can be deleted until its end.
        """
        gone = self._content.missing(hashes)
        if gone:
            raise port.ContentGoingError(gone[0])

    async def remember(self, record: records.FileRecord) -> records.FileRecord:
        """Store the labels of content that is stored, and held; as they are then.

        Raises BeingRemovedError when another server is deleting it, or has just done so.
        """
        there = await self.on_disk([record.file_hash])

        def put(writer: port.Writer) -> records.FileRecord:
            kept = writer.put_file(record)
            self.check_there(there)
            return kept

        for pause_seconds in GOING_PAUSES_SECONDS:
            try:
                return await self._committer.write(put)
            except port.ContentGoingError:
                await asyncio.sleep(pause_seconds)
        raise errors.BeingRemovedError(
            "file", record.file_hash, retry_after_seconds=GOING_PAUSES_SECONDS[-1]
        )

    def find(self, file_hash: str) -> pathlib.Path | None:
        """Where the content lies on disk; None when it does not. For a worker thread."""
        return self._content.find(file_hash)

    async def path(self, file_hash: str) -> pathlib.Path | None:
        """Where the content lies, for a method to read; None when it is not stored.

        A short output is written to disk the first time it is wanted as an input.
        """
        found = await asyncio.to_thread(self._content.find, file_hash)
        if found is not None:
            return found
        output = await self._short_output(file_hash)
        if output is None:
            return None
        await asyncio.to_thread(self._content.put, output.data)
        return await asyncio.to_thread(self._content.find, file_hash)

    async def open(self, file_hash: str) -> BinaryIO | None:
        """Open the content for reading; None when it is not stored."""
        with contextlib.suppress(errors.NotFoundError, errors.InvalidRequestError):
            return await asyncio.to_thread(self._content.open, file_hash)
        output = await self._short_output(file_hash)
        return None if output is None else io.BytesIO(output.data)

    def text(self, file_hash: str, max_bytes: int) -> str | None:
        """Read content on disk as text; None when it is not there, longer, or no UTF-8.

        For a worker thread.
        """
        try:
            with self._content.open(file_hash) as file, disk.asked():
                if os.fstat(file.fileno()).st_size > max_bytes:
                    return None
                return file.read().decode()
        except (errors.NotFoundError, errors.InvalidRequestError, UnicodeDecodeError):
            return None

    async def record(self, file_hash: str) -> records.FileRecord | None:
        """What is known of stored content; None when it is not stored."""
        if await self.missing([file_hash]):
            return None
        record = await self._committer.read(lambda store: store.find_file(file_hash))
        if record is not None:
            return record
        output = await self._short_output(file_hash)
        if output is not None:
            return _unlabelled(file_hash, len(output.data), output.ended_at)
        # Stored, and its record was not written: a crash came between.
        return await asyncio.to_thread(self._recordless, file_hash)

    def _recordless(self, file_hash: str) -> records.FileRecord | None:
        try:
            with self._content.open(file_hash) as file:
                status = os.fstat(file.fileno())
        except errors.NotFoundError:
            return None
        stored_at = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
        return _unlabelled(file_hash, status.st_size, stored_at)

    async def delete(self, file_hash: str) -> bool:
        """Delete this content wherever it lies; whether there was anything.

        Results that hold it lose it, and their jobs run again when they are asked for. InUseError
        while it is held, or a job that has not ended has it as an input.
        """
        await self.settled([file_hash])
        if self._held[file_hash]:
            raise errors.InUseError("file", file_hash, user=_USER)
        self._deleting[file_hash] = asyncio.Event()
        # A deletion that a cancelled caller left half done would wait for `finish_deletions`.
        return await staying.until_done(self._delete(file_hash))

    async def finish_deletions(self) -> None:
        """End what somebody has begun to delete and did not come to an end with."""
        for file_hash in await self._committer.read(lambda store: store.find_deleting()):
            if file_hash not in self._deleting:
                await self._finish(file_hash)

    async def settled(self, hashes: Collection[str]) -> None:
        """Wait until none of these is being deleted."""
        while self._deleting:
            under_way = [file_hash for file_hash in hashes if file_hash in self._deleting]
            if not under_way:
                return
            await self._deleting[under_way[0]].wait()

    async def _delete(self, file_hash: str) -> bool:
        try:
            known = await self._committer.write(
                lambda writer: writer.delete_file(file_hash, self._encoder.without_output)
            )
            removed = await self._finish(file_hash)
            _log.info("file.deleted", file_hash=file_hash, known=known, removed=removed)
        finally:
            self._deleting.pop(file_hash).set()
        return known or removed

    async def _finish(self, file_hash: str) -> bool:
        """Remove and forget what is marked; whether there was anything to remove."""
        removed = False

        def finish(writer: port.Writer) -> None:
            nonlocal removed  # also by a run of this that had to be made again
            if writer.forget_file(file_hash):
                crashing.point("deletion.marked")
                removed |= self._content.remove(file_hash)
                crashing.point("deletion.removed")

        await self._committer.write(finish)
        return removed

    async def _short_output(self, output_hash: str) -> _ShortOutput | None:
        attempt = await self._committer.read(lambda store: store.find_output(output_hash))
        if attempt is None or attempt.result is None or attempt.ended_at is None:
            return None
        data = self._encoder.output(attempt.result)
        return None if data is None else _ShortOutput(data=data, ended_at=attempt.ended_at)


def _unlabelled(
    file_hash: str, size_bytes: int, stored_at: datetime.datetime
) -> records.FileRecord:
    return records.FileRecord(
        file_hash=file_hash,
        size_bytes=size_bytes,
        filename="",
        media_type="",
        created_at=stored_at,
        last_used_at=stored_at,
    )
