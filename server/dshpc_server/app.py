"""Where a server is made of settings; with `engines` the one place that names adapters.

Order of start: folders, store (the lock of one that is not shared says if another server uses it),
whether the two belong together, methods, engine and what dead servers left running, then the port.
Order of stop: the calls, the dispatcher, the reconciler, the store; running jobs go on, and another
or the next server takes their results.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import pathlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import structlog

from dshpc_server import assembly, clock, config, crashing, deployment, disk, engines
from dshpc_server.batches import admission, retention
from dshpc_server.domain import queue, retry
from dshpc_server.methods import catalog, reloading
from dshpc_server.store.sql import store as sql_store
from dshpc_server.transport import limits, listening

WORKER_THREADS = 16
"""More than uploads may take (`transport.uploading`), so that a disk that hangs under them leaves
some to those who ask for other things; fewer than would cost memory."""
_SWITCH_SECONDS = 0.001
"""How long a thread that computes may keep each other one waiting. A call that is answered by the
store waits for its turn a dozen times; with Python's own 5 ms it took 0.1 s beside a large batch
that is read, and takes 0.04 s with this."""
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A server that serves."""

    host: str
    port: int
    parts: assembly.Assembly

    @property
    def address(self) -> str:
        """HOST:PORT, as clients name it."""
        return f"{self.host}:{self.port}"


async def serve(settings: config.Settings) -> None:
    """Serve until SIGTERM or SIGINT; prints `listening on HOST:PORT` when ready.

    SIGHUP reloads the methods.
    """
    try:
        crashing.arm(settings.crash_at)
    except ValueError as error:
        raise config.ConfigError(str(error)) from error
    sys.setswitchinterval(_SWITCH_SECONDS)
    stop, reload_methods = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload_methods.set)
    async with running(settings, reload_methods) as served:
        # What start-up made stays for good: collections need not look at it again. Of 10,000
        # completed rows looked up this took a third (64 us a row became 43).
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"listening on {served.address}\n")
        sys.stdout.flush()
        await stop.wait()
        _log.info("stopping")
    _log.info("stopped")


@contextlib.asynccontextmanager
async def running(
    settings: config.Settings, reload_methods: asyncio.Event | None = None
) -> AsyncIterator[Running]:
    """Run a server for as long as the context lasts; setting `reload_methods` reloads them."""
    # Before anything is begun; whoever takes the port until we do is told of at the end.
    listening.check(settings.listen)
    data_dir = settings.data_dir.absolute()
    asyncio.get_running_loop().set_default_executor(
        concurrent.futures.ThreadPoolExecutor(WORKER_THREADS, "worker")
    )
    async with contextlib.AsyncExitStack() as stack:
        store, deployment_id = await asyncio.to_thread(_open_store, settings, data_dir)
        stack.callback(store.close)
        engine = engines.engine_of(settings, data_dir, deployment_id)
        installed = catalog.Catalog(
            settings.methods_dir.absolute(), data_dir / "methods", clock.SystemClock()
        )
        loading = reloading.Reloading(
            installed,
            interval_seconds=settings.methods_reload_seconds,
            asked=reload_methods or asyncio.Event(),
        )
        await asyncio.to_thread(loading.first)
        parts = assembly.Assembly(
            assembly.Foundation(
                data_dir=data_dir,
                deployment_id=deployment_id,
                store=store,
                engine=engine,
                catalog=installed,
                reloading=loading,
                limits=_limits(settings),
                defaults=_defaults(settings),
                retries=_retries(settings),
                ageing=queue.Ageing(seconds=settings.priority_ageing_seconds),
                retention=_retention(settings),
                min_free_bytes=settings.min_free_bytes,
                disconnect_grace_seconds=settings.disconnect_grace_seconds,
                clock=clock.SystemClock(),
            )
        )
        await stack.enter_async_context(parts.serving())
        host, _, _ = settings.listen.rpartition(":")
        port_number = await parts.grpc.start(settings.listen)
        stack.push_async_callback(parts.stop, settings.stop_grace_seconds)
        if not config.is_loopback(settings.listen):
            _log.warning("serving.remote", why=config.REMOTE)
        _log.info(
            "serving",
            address=f"{host}:{port_number}",
            data_dir=str(data_dir),
            server=store.server_id,
        )
        yield Running(host=host, port=port_number, parts=parts)


def _open_store(
    settings: config.Settings, data_dir: pathlib.Path
) -> tuple[sql_store.SqlStore, str]:
    """Open the store as a server of the engine's scope, and return it with its deployment's id."""
    with _using(data_dir):
        is_new = not data_dir.is_dir()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_new:  # it is to last before a store knows it as its own
            disk.fsync_folder(data_dir.parent)
    with contextlib.ExitStack() as failed:
        try:
            store = sql_store.SqlStore.open(
                settings.store or data_dir / "dshpc.sqlite",
                scope=engines.scope_of(settings),
                lease_seconds=settings.lease_seconds,
            )
        except ValueError as error:
            raise config.ConfigError(f"store: {error}") from error
        failed.callback(store.close)
        failed.callback(store.leave)
        with _using(data_dir):
            deployment_id = deployment.settle(store, data_dir)
        failed.pop_all()
    _log.info("deployment.opened", deployment_id=deployment_id)
    return store, deployment_id


@contextlib.contextmanager
def _using(data_dir: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise config.ConfigError(f"data_dir {data_dir}: {error.strerror}") from error


def _defaults(settings: config.Settings) -> admission.Defaults:
    return admission.Defaults(
        cpus=1,
        memory_bytes=settings.job_memory_bytes or _share_bytes(settings),
        timeout_seconds=settings.job_timeout_seconds,
        max_timeout_seconds=settings.max_timeout_seconds,
    )


def _share_bytes(settings: config.Settings) -> int:
    """The memory of a job of which nobody says it; 0: what the cluster's partition gives."""
    return 0 if settings.engine == "slurm" else settings.memory_bytes // settings.slots


def _retries(settings: config.Settings) -> retry.Retries:
    return retry.Retries(
        max_retries=settings.max_retries,
        first_seconds=settings.retry_first_seconds,
        last_seconds=settings.retry_last_seconds,
    )


def _retention(settings: config.Settings) -> retention.Limits:
    return retention.Limits(
        file_retention_seconds=settings.file_retention_seconds,
        max_content_bytes=settings.max_content_bytes,
        attempt_retention_seconds=settings.attempt_retention_seconds,
    )


def _limits(settings: config.Settings) -> limits.Limits:
    """The limits are settings of the same name."""
    names = (field.name for field in dataclasses.fields(limits.Limits))
    return limits.Limits(**{name: getattr(settings, name) for name in names})
