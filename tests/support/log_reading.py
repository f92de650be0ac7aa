"""Logs of a job that the test writes, and those who read and follow them."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncGenerator, AsyncIterator

from dshpc_server.batches import logs, watchers
from dshpc_server.domain.job import AttemptKey, JobStatus
from support import job_records, store_values

JOB_ID = store_values.sha("job")
DEADLINE_SECONDS = 30.0


class Logging:
    """One job with a folder for each attempt."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self.records = job_records.Records()
        self.watchers = watchers.Watchers()
        self.logs = logs.Logs(
            committer=self.records.as_committer(), watchers=self.watchers, folder=self.folder
        )
        self._revision = 0

    def folder(self, key: AttemptKey) -> pathlib.Path:
        return self._folder / key.job_id / str(key.number)

    def file(self, number: int = 1, name: str = "stderr") -> pathlib.Path:
        path = self.folder(AttemptKey(job_id=JOB_ID, number=number)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def change(self, status: JobStatus, *earlier: JobStatus) -> None:
        """Commit how the newest attempt stands, and tell those who watch."""
        self._revision += 1
        changed = job_records.record(status=status, revision=self._revision, earlier=earlier)
        self.watchers.publish([self.records.put(changed)])

    async def read(
        self, number: int = 0, log: logs.Log = logs.Log.STDERR, **span: int | bool
    ) -> "Told":
        told = Told()
        async with asyncio.timeout(DEADLINE_SECONDS):
            async with contextlib.aclosing(self.parts(number, log, **span)) as parts:
                async for part in parts:
                    told.parts.append(part)
        assert self.watchers.watched_jobs == 0
        told.check()
        return told

    def parts(
        self, number: int = 0, log: logs.Log = logs.Log.STDERR, **span: int | bool
    ) -> AsyncGenerator[logs.Part, None]:
        wanted = logs.Span(**span)  # type: ignore[arg-type]  # by name
        return self.logs.parts(JOB_ID, number, log, wanted)


class Told:
    """What a reader was told."""

    def __init__(self) -> None:
        self.parts: list[logs.Part] = []

    def check(self) -> None:
        """Whatever is read: parts follow each other, are short, and only the last says so."""
        assert self.parts
        position = self.parts[0].offset
        for part in self.parts:
            assert part.offset == position
            assert len(part.data) <= logs.READ_LOG_BYTES
            position += len(part.data)
        assert not any(part.is_last for part in self.parts[:-1])

    @property
    def data(self) -> bytes:
        return b"".join(part.data for part in self.parts)

    @property
    def offset(self) -> int:
        return self.parts[0].offset

    @property
    def is_finished(self) -> bool:
        return self.parts[-1].is_last


class Follower:
    """Someone who follows a log, in a task of its own."""

    def __init__(self, logging: Logging, **span: int | bool) -> None:
        self.told = Told()
        self._logging = logging
        self._parts = logging.parts(0, logs.Log.STDERR, follow=True, **span)
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._parts) as parts:
            async for part in parts:
                self.told.parts.append(part)

    async def has(self, data: bytes) -> None:
        """Wait until so much was told."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.told.data != data:
                assert not self._task.done()
                await asyncio.sleep(0.01)

    async def watches(self) -> None:
        """Wait until it has begun."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._logging.records.reads:  # noqa: ASYNC110 - a read tells nobody
                await asyncio.sleep(0.01)

    async def end(self) -> Told:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._task
        assert self._logging.watchers.watched_jobs == 0
        self.told.check()
        return self.told

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@contextlib.asynccontextmanager
async def following(logging: Logging, **span: int | bool) -> AsyncIterator[Follower]:
    follower = Follower(logging, **span)
    try:
        yield follower
    finally:
        await follower.leave()


def open_files(folder: pathlib.Path) -> list[str]:
    """What this process has open under a folder."""
    found = []
    for entry in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return [name for name in found if name.startswith(f"{folder}/")]
