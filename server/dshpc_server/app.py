"""Where everything is put together: the one place that names adapters.

Order of start: folders, store (its lock says if another server uses the data), methods, engine and
what an earlier server left running, then the port. Order of stop: the calls, the dispatcher, the
reconciler, the store; running jobs go on, and the next server takes their results.
"""

import asyncio
import contextlib
import dataclasses
import gc
import pathlib
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Sequence

import structlog

from dshpc_server import clock, config
from dshpc_server.batches import (
    active,
    admission,
    content,
    dispatcher,
    intake,
    launching,
    reconciler,
    resolver,
    simulation,
    watchers,
)
from dshpc_server.engine import port as engine_port
from dshpc_server.engine.local import engine as local_engine
from dshpc_server.files import content as files
from dshpc_server.methods import catalog
from dshpc_server.store import committer, port
from dshpc_server.store.sql import store as sql_store
from dshpc_server.transport import encoder, limits, requests, server
from dshpc_server.transport.servicers import batch as batch_servicer
from dshpc_server.transport.servicers import file as file_servicer
from dshpc_server.transport.servicers import job as job_servicer
from dshpc_server.transport.servicers import method as method_servicer
from dshpc_server.transport.servicers import server as server_servicer

HEALTH_INTERVAL_SECONDS = 1.0
"""How often the engine's health is looked at."""
ENGINE_START_SECONDS = 5.0
ENGINE_POLL_SECONDS = 0.01

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A server that serves."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """HOST:PORT, as clients name it."""
        return f"{self.host}:{self.port}"


async def serve(settings: config.Settings) -> None:
    """Serve until SIGTERM or SIGINT; prints `listening on HOST:PORT` when ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as served:
        # What start-up made stays for good: collections need not look at it again. Of 10,000
        # completed rows looked up this took a third (64 us a row became 43).
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"listening on {served.address}\n")
        sys.stdout.flush()
        await stop.wait()
        _log.info("stopping")


@contextlib.asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[Running]:
    """Run a server for as long as the context lasts."""
    data_dir = settings.data_dir.absolute()
    async with contextlib.AsyncExitStack() as stack:
        store = await asyncio.to_thread(_open_store, settings, data_dir)
        stack.callback(store.close)
        installed = await asyncio.to_thread(_load_methods, settings, data_dir)
        engine = _engine(settings, data_dir)
        assembly = _Assembly(settings, data_dir, store, engine, installed)
        await stack.enter_async_context(assembly.serving())
        host, _, _ = settings.listen.rpartition(":")
        port_number = await assembly.grpc.start(settings.listen)
        stack.push_async_callback(assembly.grpc.stop, settings.stop_grace_seconds)
        _log.info("serving", address=f"{host}:{port_number}", data_dir=str(data_dir))
        yield Running(host=host, port=port_number)


class _Assembly:
    """The parts of one server, and which of them tells which."""

    def __init__(
        self,
        settings: config.Settings,
        data_dir: pathlib.Path,
        store: port.Store,
        engine: engine_port.Engine,
        installed: catalog.Catalog,
    ) -> None:
        now = clock.SystemClock()
        bounds = _limits(settings)
        encoding = encoder.MultiJobResultEncoder()
        kept = files.ContentStore(data_dir / "files")
        running_now = active.ActiveAttempts()
        self._engine = engine
        self._watchers = watchers.Watchers()
        self._committer = committer.Committer(store, on_changes=self._publish)
        library = content.Library(content=kept, committer=self._committer, encoder=encoding)
        launcher = launching.Launcher(
            catalog=installed, library=library, attempts_dir=data_dir / "attempts"
        )
        self._reconciler = reconciler.Reconciler(
            committer=self._committer,
            active=running_now,
            intake=intake.Intake(kept, inline_output_bytes=settings.inline_output_bytes),
            encoder=encoding,
            folder=launcher.folder,
            on_room=self._on_room,
        )
        self._dispatcher = dispatcher.Dispatcher(
            committer=self._committer,
            engine=engine,
            report=self._reconciler.take,
            active=running_now,
            launcher=launcher,
            clock=now,
        )
        simulating = simulation.Simulation(
            resolver=resolver.Resolver(
                catalog=installed,
                library=library,
                committer=self._committer,
                encoder=encoding,
                defaults=_defaults(settings),
                capacity=engine.capacity,
                clock=now,
                new_id=lambda: str(uuid.uuid4()),
            ),
            watchers=self._watchers,
            clock=now,
        )
        self.grpc = server.GrpcServer(
            servicers={
                "JobService": job_servicer.JobServicer(
                    simulation=simulating,
                    committer=self._committer,
                    reader=requests.RequestReader(bounds),
                    encoder=encoding,
                    engine_name=engine.name,
                    clock=now,
                ),
                "BatchService": batch_servicer.BatchServicer(
                    committer=self._committer, encoder=encoding
                ),
                "FileService": file_servicer.FileServicer(
                    content=kept,
                    library=library,
                    committer=self._committer,
                    limits=bounds,
                    clock=now,
                ),
                "MethodService": method_servicer.MethodServicer(catalog=installed),
                "ServerService": server_servicer.ServerServicer(
                    engine_name=engine.name,
                    store_name=store.name,
                    capacity=engine.capacity(),
                    limits=bounds,
                ),
            },
            limits=bounds,
        )

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Everything but the port: recovered, dispatching, taking results in."""
        failed: Exception | None = None
        async with self._committer, self._reconciler:
            await self._dispatcher.recover()
            async with asyncio.TaskGroup() as tasks:
                owned = [
                    tasks.create_task(self._engine.run(self._reconciler.take)),
                    tasks.create_task(self._dispatcher.run()),
                    tasks.create_task(self._tell_engine_health()),
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

    def _publish(self, changes: Sequence[port.Attempt]) -> None:
        self._watchers.publish(changes)
        self._dispatcher.notice(changes)

    def _on_room(self) -> None:
        self._dispatcher.wake()

    async def _wait_for_engine(self) -> None:
        """Give the engine a moment, so that the first call finds it healthy; serve without it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_START_SECONDS):
                while not self._engine.healthy():  # noqa: ASYNC110 - engines are asked, they do not tell
                    await asyncio.sleep(ENGINE_POLL_SECONDS)
        await self.grpc.tell_engine_health(healthy=self._engine.healthy())

    async def _tell_engine_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_SECONDS)
            await self.grpc.tell_engine_health(healthy=self._engine.healthy())


def _open_store(settings: config.Settings, data_dir: pathlib.Path) -> sql_store.SqlStore:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise config.ConfigError(f"data_dir {data_dir}: {error.strerror}") from error
    try:
        return sql_store.SqlStore.open(settings.store or data_dir / "dshpc.sqlite")
    except ValueError as error:
        raise config.ConfigError(f"store: {error}") from error


def _load_methods(settings: config.Settings, data_dir: pathlib.Path) -> catalog.Catalog:
    installed = catalog.Catalog(
        settings.methods_dir.absolute(), data_dir / "methods", clock.SystemClock()
    )
    report = installed.load()
    for broken in report.broken:
        _log.warning("method.broken", file=str(broken.file), reason=broken.reason)
    _log.info("methods.loaded", methods=len(report.loaded), broken=len(report.broken))
    return installed


def _engine(settings: config.Settings, data_dir: pathlib.Path) -> local_engine.LocalEngine:
    return local_engine.LocalEngine(
        data_dir / "engine",
        capacity=engine_port.Capacity(
            cpus=settings.slots, memory_bytes=settings.memory_bytes, gpus=0
        ),
    )


def _defaults(settings: config.Settings) -> admission.Defaults:
    return admission.Defaults(
        cpus=1,
        memory_bytes=settings.job_memory_bytes or settings.memory_bytes // settings.slots,
        timeout_seconds=settings.job_timeout_seconds,
        max_timeout_seconds=settings.max_timeout_seconds,
    )


def _limits(settings: config.Settings) -> limits.Limits:
    """The limits are settings of the same name."""
    names = (field.name for field in dataclasses.fields(limits.Limits))
    return limits.Limits(**{name: getattr(settings, name) for name in names})
