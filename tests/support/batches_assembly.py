"""The parts of a server between the edge and the engine, put together over a test's own folder.

Store, committer, content store, catalog, resolver, dispatcher and reconciler are the real ones; the
engine is the scripted one, and tells what the test says.
"""

import asyncio
import contextlib
import functools
import itertools
import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from dshpc_server import clock
from dshpc_server.batches import (
    active,
    admission,
    content,
    dispatcher,
    intake,
    launching,
    reconciler,
    request,
    resolver,
    simulation,
    watchers,
)
from dshpc_server.domain import identity, lookup
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.files import content as files
from dshpc_server.store import committer, port
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder
from support import batches_engine, batches_store, methods_site

DEADLINE_SECONDS = 30.0
INLINE_BYTES = 64
FOREVER = simulation.Wait(until_finished=True, timeout_seconds=DEADLINE_SECONDS)
RESOLVED = simulation.Wait(until_finished=False, timeout_seconds=DEADLINE_SECONDS)
DEFAULTS = admission.Defaults(
    cpus=1, memory_bytes=0, timeout_seconds=60.0, max_timeout_seconds=600.0
)


class Assembly:
    """One server's parts. A second one over the same folder is the server after a restart."""

    def __init__(
        self,
        folder: pathlib.Path,
        site: methods_site.Site,
        *,
        cpus: int = 2,
    ) -> None:
        self.changes: list[port.Attempt] = []
        """Every change that was committed, in order."""
        self.catalog = site.catalog()
        self.catalog.load()
        if not (folder / "store.db").exists():
            (folder / "store.db").write_bytes(_empty_store())
        self.store = SqlStore.open(folder / "store.db")
        self.kept = files.ContentStore(folder / "files")
        self.engine = batches_engine.CheckedEngine(cpus=cpus)
        self.active = active.ActiveAttempts()
        self.watchers = watchers.Watchers()
        self.encoder = encoder.MultiJobResultEncoder()
        self.wavering = batches_store.WaveringStore(self.store)
        self.committer = committer.Committer(self.wavering.as_store(), on_changes=self._publish)
        self.library = content.Library(
            content=self.kept, committer=self.committer, encoder=self.encoder
        )
        self.launcher = launching.Launcher(
            catalog=self.catalog, library=self.library, attempts_dir=folder / "attempts"
        )
        self.reconciler = reconciler.Reconciler(
            committer=self.committer,
            active=self.active,
            intake=intake.Intake(self.kept, inline_output_bytes=INLINE_BYTES),
            encoder=self.encoder,
            folder=self.launcher.folder,
            on_room=self._on_room,
        )
        self.dispatcher = dispatcher.Dispatcher(
            committer=self.committer,
            engine=self.engine,
            report=self.reconciler.take,
            active=self.active,
            launcher=self.launcher,
            clock=clock.SystemClock(),
        )
        numbers = itertools.count(1)
        self.resolver = resolver.Resolver(
            catalog=self.catalog,
            library=self.library,
            committer=self.committer,
            encoder=self.encoder,
            defaults=DEFAULTS,
            capacity=self.engine.capacity,
            clock=clock.SystemClock(),
            new_id=lambda: f"batch-{id(self)}-{next(numbers)}",
        )
        self.simulation = simulation.Simulation(
            resolver=self.resolver, watchers=self.watchers, clock=clock.SystemClock()
        )

    @contextlib.asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Answer what asks and writes; nothing is dispatched."""
        try:
            async with self.committer:
                yield
        finally:
            self.store.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Recover, dispatch, take results in."""
        async with self.storing(), self.reconciler:
            await self.dispatcher.recover()
            async with asyncio.TaskGroup() as tasks:
                owned = [
                    tasks.create_task(self.engine.run(self.reconciler.take)),
                    tasks.create_task(self.dispatcher.run()),
                ]
                try:
                    yield
                finally:
                    for task in owned:
                        task.cancel()

    async def accept(self, *rows: request.JobRequest | request.RefusedRow) -> Sequence[port.Row]:
        """Resolve a batch of these rows."""
        asked = request.BatchRequest(rows=rows, display_name="")
        async with self.resolver.prepared(asked) as batch:
            return await self.resolver.accept(batch)

    async def prepare(
        self, rows: Sequence[request.JobRequest | request.RefusedRow]
    ) -> port.NewBatch:
        """What a batch of these rows would have the store accept."""
        asked = request.BatchRequest(rows=rows, display_name="named")
        async with self.resolver.prepared(asked) as batch:
            return batch

    async def until(self, is_so: Callable[[port.Reader], bool]) -> None:
        """Wait until the store says so."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so(self.store):  # noqa: ASYNC110 - also what nobody announces
                await asyncio.sleep(0.005)

    async def until_status(self, key: AttemptKey, status: JobStatus) -> port.Attempt:
        """Wait until this attempt was seen in this status, also when it has moved on since."""
        seen: list[port.Attempt] = []

        def was_seen(_: port.Reader) -> bool:
            seen[:] = [a for a in self.changes if (a.key, a.status) == (key, status)]
            return bool(seen)

        await self.until(was_seen)
        return seen[-1]

    def statuses(self, key: AttemptKey) -> list[JobStatus]:
        """Every status this attempt has had since this server began."""
        return [attempt.status for attempt in self.changes if attempt.key == key]

    def reason(self, key: AttemptKey) -> str:
        """Why the newest attempt of this job ended as it did."""
        record = self.store.find_job(key.job_id)
        assert record is not None
        assert record.newest.attempt.key == key
        assert record.newest.ending is not None
        return record.newest.ending.reason

    def _publish(self, changes: Sequence[port.Attempt]) -> None:
        self.changes += changes
        self.watchers.publish(changes)
        self.dispatcher.notice(changes)

    def _on_room(self) -> None:
        self.dispatcher.wake()


@functools.cache
def _empty_store() -> bytes:
    """A new store's file: making its tables takes ten times as long as copying them."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "store.db")
        SqlStore.open(path).close()
        return path.read_bytes()


def site_in(folder: pathlib.Path) -> methods_site.Site:
    """A site with the method `hello`, which takes no input, and `count`, which takes one."""
    site = methods_site.Site(folder / "site")
    site.install("hello", inputs=[])
    site.install("count", {"main.py": "print('count')\n"})
    return site


def job(
    index: int = 0,
    *,
    method: str = "hello",
    inputs: Mapping[str, str] | None = None,
    resources: request.RequestedResources = request.RequestedResources(),  # noqa: B008 - frozen
    timeout_seconds: float | None = None,
    function_hash: str = "",
    policy: lookup.Policy = lookup.Policy(),  # noqa: B008 - frozen
    **parameters: identity.Json,
) -> request.JobRequest:
    """One row; jobs differ by their parameters."""
    return request.JobRequest(
        index=index,
        head=b"",
        method_name=method,
        function_hash=function_hash,
        inputs=inputs or {},
        parameters=request.Parameters(value=parameters, canonical=identity.canonical(parameters)),
        resources=resources,
        timeout_seconds=timeout_seconds,
        policy=policy,
    )
