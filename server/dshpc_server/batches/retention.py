"""Retention: what is not needed any more goes, by age and by size, a bounded part at a time.

Promises: nothing goes that an unfinished job, or a request that is being answered, refers to; what
is removed is removed as by a client, so that its jobs run again when they are asked for. What a
crash has left half done is ended: deletions by whoever comes first, workspaces after a restart. A
pass that fails is made again later, and the server serves meanwhile.
"""

import asyncio
import dataclasses
import datetime
from collections.abc import Awaitable, Sequence

import structlog

from dshpc_server import clock, errors, outage
from dshpc_server.batches import attempt_folders, content
from dshpc_server.files import content as files
from dshpc_server.store import committer, records

FIRST_SECONDS = 1.0
"""Before the first pass: those who start a server want answers, not tidiness."""
INTERVAL_SECONDS = 60.0
MOST_FILES = 1000
MOST_FOLDERS = 1000
"""Removed in one pass."""
FILES_AT_ONE_TIME = 16

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is kept; 0 is for ever, or any amount."""

    file_retention_seconds: float = 0.0
    """Since content was last used."""
    max_content_bytes: int = 0
    attempt_retention_seconds: float = 0.0
    """Since an attempt ended."""


class Retention:
    """Clears away, in the task that calls `run`."""

    def __init__(
        self,
        *,
        library: content.Library,
        content: files.ContentStore,
        committer: committer.Committer,
        folders: attempt_folders.AttemptFolders,
        limits: Limits,
        clock: clock.Clock,
    ) -> None:
        self._library = library
        self._content = content
        self._committer = committer
        self._folders = folders
        self._limits = limits
        self._clock = clock
        self._outage = outage.Outage(clock, begins="retention.put_off", ends="retention.resumed")
        self._error: Exception | None = None
        """What has kept the work in hand from being done, or a part of it."""

    async def run(self) -> None:
        """Serve until cancelled."""
        await asyncio.sleep(FIRST_SECONDS)
        is_tidy = False
        while True:
            if not is_tidy:
                is_tidy = await self._tried("workspaces", self._folders.clear_workspaces())
            await self.pass_once()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def pass_once(self) -> None:
        """Remove what is due now, or a part of it."""
        limits = self._limits
        await self._tried("deletions", self._library.finish_deletions())
        if limits.file_retention_seconds:
            await self._tried("content.unused", self._clear_unused())
        if limits.max_content_bytes:
            await self._tried("content.excess", self._clear_excess())
        if limits.attempt_retention_seconds:
            await self._tried("attempts.old", self._clear_folders())

    async def _clear_unused(self) -> None:
        before = self._ago(self._limits.file_retention_seconds)
        removed = 0
        for some in _pieces(await self._unused(before)):
            removed += sum(await self._delete(some))
        _tell("content.unused", removed)

    async def _clear_excess(self) -> None:
        """Remove the longest unused until the rest is small enough."""
        total = await asyncio.to_thread(
            lambda: sum(each.size_bytes for each in self._content.usage())
        )
        excess = total - self._limits.max_content_bytes
        if excess <= 0:
            return
        removed = 0
        for record in await self._unused(self._clock.now()):
            if excess <= 0:
                break
            (was_removed,) = await self._delete([record])
            if was_removed:
                excess -= record.size_bytes
                removed += 1
        _tell("content.excess", removed)
        if excess > 0:
            _log.warning("content.over_limit", excess_bytes=excess)

    async def _clear_folders(self) -> None:
        before = self._ago(self._limits.attempt_retention_seconds)
        _tell("attempts.old", await self._folders.clear_old(before, most=MOST_FOLDERS))

    async def _unused(self, before: datetime.datetime) -> Sequence[records.FileRecord]:
        return await self._committer.read(
            lambda store: store.find_unused_files(before=before, limit=MOST_FILES)
        )

    async def _delete(self, files: Sequence[records.FileRecord]) -> Sequence[bool]:
        """Delete these unless somebody has come to need or use them; which were."""
        async with asyncio.TaskGroup() as tasks:
            deleting = [tasks.create_task(self._delete_one(each)) for each in files]
        return [each.result() for each in deleting]

    async def _delete_one(self, listed: records.FileRecord) -> bool:
        file_hash = listed.file_hash
        try:
            # Its turn may come long after it was listed.
            found = await self._committer.read(lambda store: store.find_file(file_hash))
            if found is None or found.last_used_at > listed.last_used_at:
                return False
            return await self._library.delete(file_hash)
        except errors.InUseError:
            return False
        except (errors.UnavailableError, OSError) as error:
            self._error = error
            return False

    async def _tried(self, what: str, work: Awaitable[None]) -> bool:
        """Do it; if the store or the disk does not let us now, there is the next pass."""
        self._error = None
        try:
            await work
        except (errors.UnavailableError, OSError) as error:
            self._error = error
        if self._error is None:
            self._outage.works(by=what)
            return True
        self._outage.failed(str(self._error), by=what, what=what)
        return False

    def _ago(self, seconds: float) -> datetime.datetime:
        return self._clock.now() - datetime.timedelta(seconds=seconds)


def _pieces(files: Sequence[records.FileRecord]) -> Sequence[Sequence[records.FileRecord]]:
    step = FILES_AT_ONE_TIME
    return [files[start : start + step] for start in range(0, len(files), step)]


def _tell(what: str, removed: int) -> None:
    if removed:
        _log.info("retention.removed", what=what, count=removed)
