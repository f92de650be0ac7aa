"""The folders of attempts: walking them, and removing what is of no use any more.

    ROOT/ab/JOB_ID/NUMBER/      one attempt's parameters, output, log, end, and its workspace

Promises: only what belongs to an attempt that has ended in the store is touched; what is active, or
that the store does not know, stays. A walk costs the event loop nothing and the memory of one
256th of the folders.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import functools
import os
import pathlib
from collections.abc import AsyncGenerator, Mapping, Sequence

import structlog

from dshpc_server.batches import scratch
from dshpc_server.domain import identity
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import committer, port, records

JOBS_PER_QUESTION = 100
"""Their results come along, and may hold an output each."""

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Folder:
    """An attempt's folder as it is found."""

    key: AttemptKey
    path: pathlib.Path
    has_workspace: bool
    changed_at: datetime.datetime
    """When something in it came or went; not after its attempt's end but for its workspace."""


class AttemptFolders:
    """Clears the folders below one root."""

    def __init__(self, root: pathlib.Path, committer: committer.Committer) -> None:
        self._root = root
        self._committer = committer
        self._next_prefix = ""
        """Where the next walk for old folders begins."""

    async def clear_workspaces(self) -> None:
        """Remove the workspaces of ended attempts, which a crash has left."""
        async with contextlib.aclosing(self._walk("")) as walk:
            async for _, found in walk:
                with_one = [each for each in found if each.has_workspace]
                ended = await self._ended(with_one)
                for each in with_one:
                    if each.key in ended:
                        await _remove(each.path / "workspace")

    async def clear_old(self, before: datetime.datetime, *, most: int) -> int:
        """Remove folders of attempts that ended before then, at most so many; how many.

        A walk that comes to that end is gone on with by the next call.
        """
        removed = 0
        async with contextlib.aclosing(self._walk(self._next_prefix)) as walk:
            async for prefix, found in walk:
                self._next_prefix = prefix
                removed += await self._clear_old(found, before, most - removed)
                if removed >= most:
                    return removed
        self._next_prefix = ""
        return removed

    async def _clear_old(
        self, found: Sequence[_Folder], before: datetime.datetime, most: int
    ) -> int:
        # A folder that changed since then is of an attempt that ended later.
        old = [each for each in found if each.changed_at < before]
        ended = await self._ended(old)
        gone = [each for each in old if each.key in ended and ended[each.key] < before][:most]
        removed = [await _remove(each.path) for each in gone]
        await asyncio.to_thread(_remove_empty, {each.path.parent for each in gone})
        return sum(removed)

    async def _walk(self, start: str) -> AsyncGenerator[tuple[str, Sequence[_Folder]], None]:
        """Yield what there is, one first level after the other."""
        for prefix in await asyncio.to_thread(_names, self._root):
            if prefix >= start:
                found = await asyncio.to_thread(_found, self._root / prefix)
                yield prefix, found

    async def _ended(self, folders: Sequence[_Folder]) -> Mapping[AttemptKey, datetime.datetime]:
        """Those whose attempt has ended, and when."""
        job_ids = list(dict.fromkeys(each.key.job_id for each in folders))
        ended: dict[AttemptKey, datetime.datetime] = {}
        for start in range(0, len(job_ids), JOBS_PER_QUESTION):
            some = job_ids[start : start + JOBS_PER_QUESTION]
            found = await self._committer.read(functools.partial(_attempts, job_ids=some))
            ended |= {each.key: each.ended_at for each in found if each.ended_at is not None}
        return ended


def _attempts(store: port.Reader, job_ids: Sequence[str]) -> Sequence[records.Attempt]:
    return store.find_all_attempts(job_ids)


def _names(folder: pathlib.Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (of names alone, many)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _found(prefix: pathlib.Path) -> list[_Folder]:
    found = []
    for job_id in _names(prefix):
        if not identity.is_hash(job_id):
            continue
        for number in _names(prefix / job_id):
            path = prefix / job_id / number
            if not (number.isascii() and number.isdigit()):
                continue
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                changed = path.lstat().st_mtime
                folder = _Folder(
                    key=AttemptKey(job_id=job_id, number=int(number)),
                    path=path,
                    has_workspace=os.path.lexists(path / "workspace"),
                    changed_at=datetime.datetime.fromtimestamp(changed, datetime.UTC),
                )
                found.append(folder)
    return found


async def _remove(folder: pathlib.Path) -> bool:
    try:
        await scratch.remove(folder)
    except OSError as error:
        _log.warning("attempt.left", folder=str(folder), reason=str(error))
        return False
    return True


def _remove_empty(folders: set[pathlib.Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # there is something in it, or again
            folder.rmdir()
