"""`LocalEngine`: attempts on this machine, by way of a runner that outlives the server.

The servers of one node that share a data folder share the runner: its folder is theirs together,
and each is told of the attempts that it watches, whoever submitted them.

It holds no truth: what it knows of an attempt it asks of the runner anew with every connection.
When the runner dies, another is started and asked about every unfinished attempt; what cannot be
accounted for is ended and told as lost. `healthy()` is false meanwhile, and attempts submitted
then are handed on as soon as there is a runner.
"""

import asyncio
import dataclasses
import os
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence

import structlog

import dshpc_server
from dshpc_server import clock, outage
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import delivery, port
from dshpc_server.engine.local import connection, contract, wire

_log = structlog.get_logger(__name__)
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 2.0
_SYSTEM_CLOCK = clock.SystemClock()


@dataclasses.dataclass(kw_only=True, slots=True)
class _Watched:
    """An attempt whose end was not reported yet."""

    key: AttemptKey
    folder: pathlib.Path
    job: wire.Job | None
    """How to start it; None for an attempt of an earlier server, or one that has started."""
    is_cancelled: bool = False
    has_started: bool = False
    has_ended: bool = False


def folder_name() -> str:
    """Return the name of the engine's folder on this node; the data may be other nodes', too."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", platform.node()).strip(".") or "node"


def scope() -> str:
    """Return where the attempts of this node's engine can be accounted for: nowhere else."""
    return f"local/{folder_name()}"


class LocalEngine:
    """The `Engine` of one machine.

    `folder` is that of this node (`folder_name`): the runner's socket, lock and log are there, for
    the owner alone. `environment` is the server's; methods see PATH and TZ of it. `confinement`
    none makes the runner do without control groups.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        capacity: port.Capacity,
        confinement: str = "auto",
        environment: Mapping[str, str] = os.environ,
        clock: clock.Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._folder = folder.absolute()
        self._capacity = capacity
        self._asked_confinement = confinement
        self._environment = environment
        self._outage = outage.Outage(clock, begins="engine.no_runner", ends="engine.runner")
        self._node = platform.node()
        self._hello: wire.Hello | None = None
        self._connection: connection.Connection | None = None
        self._watched: dict[str, _Watched] = {}
        self._delivery = delivery.Delivery[_Watched](is_current=self._is_current, on_end=self._drop)

    @property
    def name(self) -> str:
        """The kind of engine."""
        return "local"

    @property
    def confinement(self) -> str:
        """How trees are held and memory is limited; empty before the first connection."""
        return self._hello["confinement"] if self._hello else ""

    @property
    def runner_pid(self) -> int | None:
        """The runner's process id; None while there is no connection."""
        return self._hello["pid"] if self._hello and self._connection else None

    @property
    def scope(self) -> str:
        """This node: processes can be looked up where they run, and nowhere else."""
        return scope()

    def capacity(self) -> port.Capacity:
        """What all attempts together may use."""
        return self._capacity

    def healthy(self) -> bool:
        """Whether there is a runner that listens to us."""
        return self._connection is not None

    def waiting(self, key: AttemptKey) -> port.Waiting:
        """Nothing: what is submitted starts at once."""
        del key
        return port.Waiting()

    async def run(self, report: port.Report) -> None:
        """Stay connected and deliver facts until cancelled. See the port."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._delivery.run(report))
            tasks.create_task(self._stay_connected())

    async def submit_many(self, launches: Sequence[port.Launch]) -> None:
        """Start these attempts. See the port."""
        orders: list[wire.Order] = []
        for launch in launches:
            job = contract.job_of(launch, self._environment)
            if job["name"] not in self._watched:
                folder = pathlib.Path(job["folder"])
                self._watched[job["name"]] = _Watched(key=launch.key, folder=folder, job=job)
                orders.append({"launch": job})
        await self._send(orders)

    async def cancel_many(self, keys: Sequence[AttemptKey]) -> None:
        """Stop these attempts. See the port."""
        names = [name for name in map(contract.name_of, keys) if name in self._watched]
        for name in names:
            self._watched[name].is_cancelled = True
        await self._send([{"cancel": names}] if names else [])

    async def recover(self, attempts: Sequence[tuple[AttemptKey, pathlib.Path]]) -> None:
        """Take up attempts by key and folder. See the port."""
        adopted: list[wire.Adoption] = []
        for key, folder in attempts:
            name = contract.name_of(key)
            if name not in self._watched:
                watched = _Watched(key=key, folder=folder.absolute(), job=None)
                self._watched[name] = watched
                adopted.append({"name": name, "folder": str(watched.folder)})
        if self._connection is not None and adopted:
            self._connection.send([{"adopt": adopted}])

    async def forget(self, keys: Sequence[AttemptKey]) -> None:
        """Stop watching these attempts. See the port."""
        for key in keys:
            self._watched.pop(contract.name_of(key), None)

    async def _send(self, orders: Sequence[wire.Order]) -> None:
        if self._connection is not None:
            self._connection.send(orders)
            await self._connection.drain()

    async def _stay_connected(self) -> None:
        delay_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                await self._serve_one_connection()
                delay_seconds = _FIRST_RETRY_SECONDS
            except connection.RunnerError as error:
                self._outage.failed(str(error))
                delay_seconds = min(2 * delay_seconds, _LAST_RETRY_SECONDS)
            await asyncio.sleep(delay_seconds)

    async def _serve_one_connection(self) -> None:
        environment = self._runner_environment()
        async with connection.opened(
            self._folder, confinement=self._asked_confinement, environment=environment
        ) as opened:
            self._hello = opened.hello
            self._connection = opened
            facts = {"pid": self.runner_pid, "confinement": self.confinement}
            if not self._outage.works(**facts):
                _log.info("engine.runner", **facts)
            try:
                opened.send(self._everything())
                async for news in opened.news():
                    self._take(news)
            finally:
                self._connection = None
        self._outage.failed("the runner has gone", pid=opened.hello["pid"])

    def _everything(self) -> list[wire.Order]:
        """Orders that bring a runner to where this server stands, whatever it knows already."""
        waiting = {name: one for name, one in self._watched.items() if not one.has_ended}
        adopted: list[wire.Adoption] = [
            {"name": name, "folder": str(one.folder)}
            for name, one in waiting.items()
            if one.job is None
        ]
        orders: list[wire.Order] = [{"launch": one.job} for one in waiting.values() if one.job]
        if adopted:
            orders.append({"adopt": adopted})
        cancelled = [name for name, one in waiting.items() if one.is_cancelled]
        if cancelled:
            orders.append({"cancel": cancelled})
        return orders

    def _take(self, facts: Sequence[object]) -> None:
        """Queue facts for delivery; those told already, or of others' attempts, are dropped.

        So is what is not in form: the job waits for a runner that tells its end as it should.
        """
        for fact in facts:
            if not wire.is_fact(fact):
                _log.error("engine.refused_fact")
                continue
            watched = self._watched.get(fact["name"])
            if watched is None or watched.has_ended:
                continue
            if fact["fact"] == "started":
                if watched.has_started:
                    continue
                watched.has_started = True
                # Its method may have removed the folder that says so: another runner is not to
                # start it again.
                watched.job = None
            else:
                watched.has_ended = True
            told = contract.fact_of(fact, watched.key, watched.folder, self._node)
            self._delivery.tell(watched, told)

    def _drop(self, watched: _Watched) -> None:
        del self._watched[contract.name_of(watched.key)]

    def _is_current(self, watched: _Watched) -> bool:
        return self._watched.get(contract.name_of(watched.key)) is watched

    def _runner_environment(self) -> dict[str, str]:
        # Nothing else of the server's own: what is in its environment may be secret.
        shared = contract.shared_environment(self._environment)
        source = pathlib.Path(dshpc_server.__file__).parent.parent
        if source.name not in ("site-packages", "dist-packages"):  # found by itself there
            shared["PYTHONPATH"] = str(source)
        return shared
