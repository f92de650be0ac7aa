"""The parts of a server between the edge and the engine, put together over a test's own folder.

Store, committer, content store, catalog, resolver, dispatcher, reconciler, membership and following
are the real ones; the engine is the scripted one, and tells what the test says. Several of them
over one folder and one database are the servers of a shared store.
"""

import asyncio
import contextlib
import itertools
import pathlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from dshpc_server import clock, presence
from dshpc_server.batches import (
    acceptance,
    active,
    admission,
    cancelling,
    content,
    disconnects,
    dispatcher,
    failure_limits,
    following,
    intake,
    launching,
    membership,
    reconciler,
    releasing,
    reports,
    request,
    resolver,
    run_times,
    showing,
    simulation,
    staging,
    trials,
    watchers,
    withdrawing,
)
from dshpc_server.domain import identity, lookup, queue, retry
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.statistics import Statistics
from dshpc_server.engine import port as engine_port
from dshpc_server.files import content as files
from dshpc_server.files import room
from dshpc_server.store import committer, port, records
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder
from support import batches_engine, batches_store, methods_site

DEADLINE_SECONDS = 30.0
INLINE_BYTES = 64
LARGE_ROWS, PIECE_ROWS = 10, 4
"""So that a dozen rows are a large batch."""
FOREVER = simulation.Wait(until_finished=True, timeout_seconds=DEADLINE_SECONDS)
RESOLVED = simulation.Wait(until_finished=False, timeout_seconds=DEADLINE_SECONDS)
NO_RETRIES = retry.Retries(max_retries=0)
DEFAULTS = admission.Defaults(
    cpus=1, memory_bytes=0, timeout_seconds=60.0, max_timeout_seconds=600.0
)


class ScriptedRoom(room.Room):
    """Room on disk that is there as long as the test says so."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(folder, 0)
        self.is_there = True

    def has_room(self, needed_bytes: int = 0) -> bool:
        del needed_bytes
        return self.is_there


class Assembly:
    """One server's parts. A second one over the same folder is the server after a restart."""

    def __init__(
        self,
        folder: pathlib.Path,
        site: methods_site.Site,
        *,
        cpus: int = 2,
        capacity: engine_port.Capacity | None = None,
        url: str = "",
        lease_seconds: float = 15.0,
        retries: retry.Retries = NO_RETRIES,
        scope: str = "scripted",
        ageing_seconds: float = 60.0,
        grace_seconds: float = 30.0,
    ) -> None:
        """`url` names a database in the place of a file in the folder; `capacity` outdoes cpus."""
        self.changes: list[records.Attempt] = []
        """Every change that was committed here, in order."""
        self.told: list[records.Attempt] = []
        """These, and what was read because other servers changed it."""
        self.catalog = site.catalog()
        self.catalog.load()
        self.engine = batches_engine.CheckedEngine(
            capacity=capacity or engine_port.Capacity(cpus=cpus, memory_bytes=0, gpus=0),
            scope=scope,
        )
        self.store = (
            SqlStore.open(url, scope=scope, lease_seconds=lease_seconds)
            if url
            else batches_store.opened(folder / "store.db")
        )
        self.kept = files.ContentStore(folder / "files")
        self.room = ScriptedRoom(folder)
        self.active = active.ActiveAttempts()
        self.watchers = watchers.Watchers()
        self.encoder = encoder.MultiJobResultEncoder()
        self.wavering = batches_store.WaveringStore(self.store)
        self.committer = committer.Committer(
            self.wavering.as_store(),
            on_changes=self._take_changes,
            on_rows=self._take_rows,
            on_touched=self._on_room,
            on_doubt=self._on_doubt,
        )
        self.library = content.Library(
            content=self.kept,
            committer=self.committer,
            encoder=self.encoder,
            is_shared=self.store.is_shared,
        )
        self.run_times = run_times.RunTimes(on_observed=self._on_room)
        self.launcher = launching.Launcher(
            catalog=self.catalog,
            library=self.library,
            run_times=self.run_times,
            attempts_dir=folder / "attempts",
        )
        taking_in = intake.Intake(self.kept, inline_output_bytes=INLINE_BYTES)
        self.reconciler = reconciler.Reconciler(
            committer=self.committer,
            library=self.library,
            active=self.active,
            intake=taking_in,
            reports=reports.Reports(
                intake=taking_in,
                encoder=self.encoder,
                folder=self.launcher.folder,
                retries=retries,
                chance=lambda: 0.0,
            ),
            run_times=self.run_times,
            folder=self.launcher.folder,
            on_room=self._on_room,
            on_dropped=self._on_dropped,
            clock=clock.SystemClock(),
        )
        self.dispatcher = dispatcher.Dispatcher(
            committer=self.committer,
            engine=self.engine,
            report=self.reconciler.take,
            active=self.active,
            launcher=self.launcher,
            trials=trials.Trials(
                run_times=self.run_times,
                is_declared=self.launcher.is_run_time_declared,
                clock=clock.SystemClock(),
            ),
            ageing=queue.Ageing(seconds=ageing_seconds),
            room=self.room,
            clock=clock.SystemClock(),
            on_fenced=self._on_fenced,
        )
        self.presence = presence.Presence(folder / "servers")
        self.membership = membership.Membership(
            store=self.wavering.as_store(),
            committer=self.committer,
            attempts=self.dispatcher,
            presence=self.presence,
            scope=scope,
            clock=clock.SystemClock(),
            on_taken_over=self._on_taken_over,
        )
        self.following = following.Following(
            store=self.store,
            committer=self.committer,
            watchers=self.watchers,
            active=self.active,
            attempts=self.dispatcher,
            publish=self._publish,
        )
        self.cancelling = cancelling.Cancelling(
            committer=self.committer,
            watchers=self.watchers,
            encoder=self.encoder,
            stop=self.dispatcher.cancel,
            clock=clock.SystemClock(),
        )
        self.withdrawing = withdrawing.Withdrawing(
            committer=self.committer, encoder=self.encoder, stop=self.dispatcher.cancel
        )
        self.showing = showing.Showing(self.committer)
        self.disconnects = disconnects.Disconnects(
            withdrawing=self.withdrawing, showing=self.showing, grace_seconds=grace_seconds
        )
        self.failure_limits = failure_limits.FailureLimits(
            committer=self.committer, withdrawing=self.withdrawing, clock=clock.SystemClock()
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
        self.releasing = releasing.Releasing(
            committer=self.committer,
            resolver=self.resolver,
            failure_limits=self.failure_limits,
            encoder=self.encoder,
            clock=clock.SystemClock(),
        )
        self.staging = staging.Staging(
            resolver=self.resolver,
            library=self.library,
            committer=self.committer,
            clock=clock.SystemClock(),
            on_accepted=self._on_accepted,
            is_shared=self.store.is_shared,
            large_rows=LARGE_ROWS,
            piece_rows=PIECE_ROWS,
        )
        self.acceptance = acceptance.Acceptance(
            resolver=self.resolver,
            staging=self.staging,
            releasing=self.releasing,
            showing=self.showing,
            committer=self.committer,
            watchers=self.watchers,
            disconnects=self.disconnects,
            failure_limits=self.failure_limits,
        )
        self.simulation = simulation.Simulation(
            acceptance=self.acceptance,
            committer=self.committer,
            watchers=self.watchers,
            clock=clock.SystemClock(),
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
        """Take over, dispatch, take results in, follow others."""
        try:
            async with (
                self.membership,
                self.committer,
                self.following,
                self.reconciler,
                self.cancelling,
                self.withdrawing,
                self.disconnects,
            ):
                await self.membership.begin()
                async with self._running():
                    yield
        finally:
            self.store.close()

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            works = (
                self.engine.run(self._take_facts),
                self._dispatch(),
                self.membership.run(),
                self.following.run(),
                self._release(),
                self.failure_limits.run(),
                self.staging.run(),
            )
            owned = [tasks.create_task(work) for work in works]
            try:
                yield
            finally:
                for task in owned:
                    task.cancel()

    async def accept(self, *rows: request.JobRequest | request.RefusedRow) -> Sequence[records.Row]:
        """Resolve a batch of these rows."""
        asked = request.BatchRequest(rows=rows, display_name="")
        async with self.resolver.prepared(asked) as prepared:
            return await self.resolver.accept(prepared)

    async def prepare(
        self, rows: Sequence[request.JobRequest | request.RefusedRow]
    ) -> records.NewBatch:
        """What a batch of these rows would have the store accept."""
        asked = request.BatchRequest(rows=rows, display_name="named")
        async with self.resolver.prepared(asked) as prepared:
            return prepared.batch

    async def until(self, is_so: Callable[[port.Reader], bool]) -> None:
        """Wait until the store says so."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so(self.store):  # noqa: ASYNC110 - also what nobody announces
                await asyncio.sleep(0.005)

    async def until_status(self, key: AttemptKey, status: JobStatus) -> records.Attempt:
        """Wait until this attempt was seen in this status, also when it has moved on since."""
        seen: list[records.Attempt] = []

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

    async def _take_facts(self, facts: Sequence[engine_port.Fact]) -> None:
        self.dispatcher.hear(facts)
        await self.reconciler.take(facts)

    async def _dispatch(self) -> None:
        await self.membership.begun()
        await self.dispatcher.run()

    async def _release(self) -> None:
        await self.membership.begun()
        await self.releasing.run()

    def _on_doubt(self) -> None:
        self.following.note()
        self.releasing.note_everything()

    def _on_accepted(self, batch_id: str, counts: Statistics) -> None:
        acceptance.tell(batch_id, counts)
        self.releasing.note_batch(batch_id)
        self.failure_limits.note_batch(batch_id)

    def _on_taken_over(self) -> None:
        self.releasing.note_everything()

    def _on_fenced(self, server_id: str) -> None:
        self.membership.note_fenced(server_id)

    def _on_dropped(self, job_ids: Collection[str]) -> None:
        self.following.note(job_ids)

    def _take_changes(self, changes: Sequence[records.Attempt]) -> None:
        self.changes += changes
        self._publish(changes)
        self.releasing.note(changes)

    def _take_rows(self, changed: Sequence[records.ChangedRows]) -> None:
        self.watchers.publish_rows(changed)
        self.releasing.note_rows(changed)

    def _publish(self, attempts: Sequence[records.Attempt]) -> None:
        self.told += attempts
        self.watchers.publish(attempts)
        self.dispatcher.notice(attempts)
        self.failure_limits.notice(attempts)

    def _on_room(self) -> None:
        self.dispatcher.wake()


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
    priority: int | None = None,
    upstreams: Sequence[request.Upstream] = (),
    **parameters: identity.Json,
) -> request.JobRequest:
    """One row; jobs differ by their parameters."""
    return request.JobRequest(
        index=index,
        config_index=index,
        head=b"",
        method_name=method,
        function_hash=function_hash,
        inputs=inputs or {},
        parameters=request.Parameters(value=parameters, canonical=identity.canonical(parameters)),
        resources=resources,
        timeout_seconds=timeout_seconds,
        policy=policy,
        priority=priority,
        upstreams=upstreams,
        config=lambda: b"config %d" % index,
    )


def after(
    index: int, condition: Condition = Condition.SUCCEEDED, *, input_name: str = ""
) -> request.Upstream:
    """A row's word that it waits for another one, perhaps for its output."""
    return request.Upstream(
        rows=range(index, index + 1),
        condition=condition,
        input_name=input_name,
        name=f"config 'row {index}'",
        field="depends_on[0]",
    )


def after_job(
    job_id: str, condition: Condition = Condition.SUCCEEDED, *, input_name: str = ""
) -> request.Upstream:
    """The same about a job that is known."""
    return request.Upstream(
        job_id=job_id,
        condition=condition,
        input_name=input_name,
        name=f"job '{job_id}'",
        field="jobs[0].depends_on[0].job_id",
    )
