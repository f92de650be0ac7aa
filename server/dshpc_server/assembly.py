"""The parts of one server, and which of them tells which. It names no adapter: they are handed in.

Data goes one way round: the servicers have batches accepted, the dispatcher takes them to the
engine, the reconciler brings its facts back to the store, and the store's changes go to whoever
watches. What other servers do comes in by following the store, as changes of its own.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
import random
import uuid
from collections.abc import AsyncIterator, Collection, Sequence

from dshpc_server import clock, presence
from dshpc_server.batches import (
    acceptance,
    active,
    admission,
    attempt_folders,
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
    resolver,
    retention,
    run_times,
    showing,
    staging,
    trials,
    watchers,
    withdrawing,
)
from dshpc_server.domain import queue, retry
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.statistics import Statistics
from dshpc_server.engine import port as engine_port
from dshpc_server.files import content as files
from dshpc_server.files import expiry, room
from dshpc_server.methods import catalog, reloading
from dshpc_server.store import committer, port, records
from dshpc_server.transport import encoder, limits, server, services

HEALTH_INTERVAL_SECONDS = 1.0
"""How often the engine's health is looked at."""
ENGINE_START_SECONDS = 5.0
ENGINE_POLL_SECONDS = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Foundation:
    """What the parts stand on."""

    data_dir: pathlib.Path
    deployment_id: str
    store: port.Store
    engine: engine_port.Engine
    catalog: catalog.Catalog
    reloading: reloading.Reloading
    limits: limits.Limits
    defaults: admission.Defaults
    retries: retry.Retries
    ageing: queue.Ageing
    retention: retention.Limits
    min_free_bytes: int
    disconnect_grace_seconds: float
    clock: clock.Clock


class Assembly:
    """The parts of one server."""

    def __init__(self, on: Foundation) -> None:
        self._on = on
        self._encoder = encoder.MultiJobResultEncoder()
        self._room = room.Room(on.data_dir, on.min_free_bytes, on.clock)
        self._kept = files.ContentStore(on.data_dir / "files", room=self._room, clock=on.clock)
        self._active = active.ActiveAttempts()
        self._watchers = watchers.Watchers()
        self._committer = committer.Committer(
            on.store,
            on_changes=self._on_changes,
            on_rows=self._on_rows,
            on_touched=self._wake_dispatcher,
            on_doubt=self._on_doubt,
        )
        self._library = content.Library(
            content=self._kept,
            committer=self._committer,
            encoder=self._encoder,
            is_shared=on.store.is_shared,
        )
        self._run_times = run_times.RunTimes(on_observed=self._wake_dispatcher)
        self._launcher = launching.Launcher(
            catalog=on.catalog,
            library=self._library,
            run_times=self._run_times,
            attempts_dir=on.data_dir / "attempts",
        )
        self._reconciler = self._make_reconciler()
        self._dispatcher = dispatcher.Dispatcher(
            committer=self._committer,
            engine=on.engine,
            report=self._reconciler.take,
            active=self._active,
            launcher=self._launcher,
            trials=trials.Trials(
                run_times=self._run_times,
                is_declared=self._launcher.is_run_time_declared,
                clock=on.clock,
            ),
            ageing=on.ageing,
            room=self._room,
            clock=on.clock,
            on_fenced=self._on_fenced,
        )
        self._membership = membership.Membership(
            store=on.store,
            committer=self._committer,
            attempts=self._dispatcher,
            presence=presence.Presence(on.data_dir / "servers"),
            scope=on.engine.scope,
            clock=on.clock,
            on_taken_over=self._on_taken_over,
        )
        self._following = following.Following(
            store=on.store,
            committer=self._committer,
            watchers=self._watchers,
            active=self._active,
            attempts=self._dispatcher,
            publish=self._publish,
        )
        self._resolver = self._make_resolver()
        self._withdrawing = withdrawing.Withdrawing(
            committer=self._committer,
            encoder=self._encoder,
            stop=self._dispatcher.cancel,
        )
        self._failure_limits = failure_limits.FailureLimits(
            committer=self._committer, withdrawing=self._withdrawing, clock=on.clock
        )
        self._releasing = releasing.Releasing(
            committer=self._committer,
            resolver=self._resolver,
            failure_limits=self._failure_limits,
            encoder=self._encoder,
            clock=on.clock,
        )
        self._staging = staging.Staging(
            resolver=self._resolver,
            library=self._library,
            committer=self._committer,
            clock=on.clock,
            on_accepted=self._on_accepted,
            is_shared=on.store.is_shared,
        )
        self._showing = showing.Showing(self._committer)
        self._retention = self._make_retention()
        self._cancelling = cancelling.Cancelling(
            committer=self._committer,
            watchers=self._watchers,
            encoder=self._encoder,
            stop=self._dispatcher.cancel,
            clock=on.clock,
        )
        self._disconnects = disconnects.Disconnects(
            withdrawing=self._withdrawing,
            showing=self._showing,
            grace_seconds=on.disconnect_grace_seconds,
        )
        self._expiry = expiry.Expiry(
            self._kept, expiry_seconds=on.limits.upload_expiry_seconds, clock=on.clock
        )
        self.grpc = server.GrpcServer(servicers=services.servicers(self._parts()), limits=on.limits)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Everything but the port: recovered, dispatching, taking results in."""
        failed: Exception | None = None
        # Membership is left last: what is recorded before is still ours.
        async with (
            self._membership,
            self._committer,
            self._following,
            self._reconciler,
            self._cancelling,
            self._withdrawing,
            self._disconnects,
        ):
            await self._membership.begin()
            async with asyncio.TaskGroup() as tasks:
                owned = [
                    tasks.create_task(work)
                    for work in (
                        self._on.engine.run(self._take),
                        self._dispatch(),
                        self._membership.run(),
                        self._following.run(),
                        self._release(),
                        self._staging.run(),
                        self._on.reloading.run(),
                        self._expiry.run(),
                        self._room.run(),
                        self._retention.run(),
                        self._failure_limits.run(),
                        self._tell_engine_health(),
                    )
                ]
                await self._wait_for_engine()
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - raised below
                    # Not a failure of these tasks: a group would wrap it, and it is to be told.
                    failed = error
                finally:
                    for task in owned:
                        task.cancel()
        if failed is not None:
            raise failed

    async def stop(self, grace_seconds: float) -> None:
        """End the calls; what they followed is not lost by that."""
        self._disconnects.stop()
        await self.grpc.stop(grace_seconds)

    def _make_reconciler(self) -> reconciler.Reconciler:
        taking_in = intake.Intake(
            self._kept, inline_output_bytes=self._on.limits.inline_output_bytes
        )
        return reconciler.Reconciler(
            committer=self._committer,
            library=self._library,
            active=self._active,
            intake=taking_in,
            reports=reports.Reports(
                intake=taking_in,
                encoder=self._encoder,
                folder=self._launcher.folder,
                retries=self._on.retries,
                chance=random.SystemRandom().random,
            ),
            run_times=self._run_times,
            folder=self._launcher.folder,
            on_room=self._wake_dispatcher,
            on_dropped=self._on_dropped,
            clock=self._on.clock,
        )

    def _make_resolver(self) -> resolver.Resolver:
        return resolver.Resolver(
            catalog=self._on.catalog,
            library=self._library,
            committer=self._committer,
            encoder=self._encoder,
            defaults=self._on.defaults,
            capacity=self._on.engine.capacity,
            clock=self._on.clock,
            new_id=lambda: str(uuid.uuid4()),
        )

    def _make_retention(self) -> retention.Retention:
        return retention.Retention(
            library=self._library,
            content=self._kept,
            committer=self._committer,
            folders=attempt_folders.AttemptFolders(self._on.data_dir / "attempts", self._committer),
            limits=self._on.retention,
            clock=self._on.clock,
        )

    def _parts(self) -> services.Parts:
        on = self._on
        return services.Parts(
            deployment_id=on.deployment_id,
            store_name=on.store.name,
            engine_name=on.engine.name,
            capacity=on.engine.capacity,
            waiting=self._waiting,
            catalog=on.catalog,
            content=self._kept,
            library=self._library,
            committer=self._committer,
            watchers=self._watchers,
            acceptance=acceptance.Acceptance(
                resolver=self._resolver,
                staging=self._staging,
                releasing=self._releasing,
                showing=self._showing,
                committer=self._committer,
                watchers=self._watchers,
                disconnects=self._disconnects,
                failure_limits=self._failure_limits,
            ),
            showing=self._showing,
            cancelling=self._cancelling,
            withdrawing=self._withdrawing,
            disconnects=self._disconnects,
            folder=self._launcher.folder,
            encoder=self._encoder,
            max_retries=on.retries.max_retries,
            limits=on.limits,
            clock=on.clock,
        )

    def _waiting(self, key: AttemptKey, status: JobStatus) -> engine_port.Waiting:
        return self._dispatcher.waiting(key, status)

    async def _take(self, facts: Sequence[engine_port.Fact]) -> None:
        self._dispatcher.hear(facts)
        await self._reconciler.take(facts)

    def _on_changes(self, attempts: Sequence[records.Attempt]) -> None:
        self._publish(attempts)
        self._releasing.note(attempts)

    def _on_rows(self, changed: Sequence[records.ChangedRows]) -> None:
        self._watchers.publish_rows(changed)
        self._releasing.note_rows(changed)

    def _publish(self, attempts: Sequence[records.Attempt]) -> None:
        self._watchers.publish(attempts)
        self._dispatcher.notice(attempts)
        self._failure_limits.notice(attempts)

    def _wake_dispatcher(self) -> None:
        self._dispatcher.wake()

    def _on_doubt(self) -> None:
        self._following.note()
        self._releasing.note_everything()

    def _on_accepted(self, batch_id: str, counts: Statistics) -> None:
        acceptance.tell(batch_id, counts)
        self._releasing.note_batch(batch_id)
        self._failure_limits.note_batch(batch_id)

    def _on_taken_over(self) -> None:
        self._releasing.note_everything()

    def _on_dropped(self, job_ids: Collection[str]) -> None:
        self._following.note(job_ids)

    def _on_fenced(self, server_id: str) -> None:
        self._membership.note_fenced(server_id)

    async def _dispatch(self) -> None:
        # What is taken over counts against the capacity, so it comes first.
        await self._membership.begun()
        await self._dispatcher.run()

    async def _release(self) -> None:
        await self._membership.begun()
        await self._releasing.run()

    async def _wait_for_engine(self) -> None:
        """Give the engine a moment, so that the first call finds it healthy; serve without it."""
        engine = self._on.engine
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_START_SECONDS):
                while not engine.healthy():  # noqa: ASYNC110 - engines are asked, they do not tell
                    await asyncio.sleep(ENGINE_POLL_SECONDS)
        await self.grpc.tell_engine_health(healthy=engine.healthy())

    async def _tell_engine_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_SECONDS)
            await self.grpc.tell_engine_health(healthy=self._on.engine.healthy())
