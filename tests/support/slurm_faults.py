"""A whole server on a real Slurm cluster, for tests that break something there.

    with slurm_faults.serving(tmp_path, cluster) as site:
        batch = site.ask(*(slurm_faults.counted(n, seconds=4) for n in range(24)))
        ...
    site.assert_whole(batch)

Promise: when the context ends, the server is gone, and so are its jobs, whatever became of them. A
test that passed has left nothing of them in Slurm's queue.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf import duration_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import (
    calls,
    fault_load,
    fault_tally,
    fault_verdict,
    live_server,
    site,
    slurm_faults_cluster,
)
from support.fault_tally import Asked, Mode
from support.slurm_cluster import SlurmCluster

_LOG_CHARACTERS = 4000
_ENGINE = "dshpc.engine"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_X = 1000
_GATED = """
folder=${JOB_WORKSPACE%/workspace}; number=${folder##*/}
read -r gate < "$1"
echo "$number" >> "$gate.starts"
until [ -e "$gate.$number" ]; do sleep 0.1; done
echo "attempt $number"
"""
_SPINNING = 'for ((turn = 0; turn < 60000; turn++)); do :; done; sleep 1; cat -- "$1"'
_EATING = "exec tail -c 200M < <(head -c 200M /dev/zero; sleep 600)"


def counted(n: int, *, seconds: float = 0.0, mode: Mode = Mode.WORK) -> Asked:
    """A job that counts its runs, and takes so long; another `n` is another job."""
    return Asked(mode=mode, x=_X, n=n, lines=1, milliseconds=round(1000 * seconds))


class Gate:
    """Holds jobs of the method `gated`, each attempt until it is let go by its number."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    @property
    def content(self) -> bytes:
        """What to upload as the input of a job that waits at this gate."""
        return f"{self._path}\n".encode()

    @property
    def starts(self) -> Sequence[int]:
        """The numbers of the attempts that were started, in their order."""
        file = self._path.with_name(f"{self._path.name}.starts")
        return [int(word) for word in file.read_text().split()] if file.exists() else []

    def open(self, number: int) -> None:
        """Let this attempt go on; its output says which it was."""
        self._path.with_name(f"{self._path.name}.{number}").touch()


class Site:
    """A server, its cluster, and what jobs have counted; `serving` makes one."""

    def __init__(
        self,
        folder: pathlib.Path,
        cluster: SlurmCluster,
        channel: grpc.Channel,
        tally: fault_tally.Tally,
    ) -> None:
        self.data_dir = folder / "data"
        self.log = folder / "server.log"
        self.cluster = cluster
        self.service = calls.Service(channel)
        self.tally = tally
        self._health: Any = health_pb2_grpc.HealthStub(channel)

    def is_engine_serving(self) -> bool:
        """The health of the engine, as anybody is told it."""
        asked = health_pb2.HealthCheckRequest(service=_ENGINE)
        return bool(
            self._health.Check(asked, timeout=slurm_faults_cluster.SECONDS).status == _SERVING
        )

    def wait_until_engine(self, *, serves: bool) -> None:
        """Wait until the engine's health is so."""
        slurm_faults_cluster.wait_for(
            lambda: self.is_engine_serving() is serves, f"the engine's health: {serves}"
        )

    def ask(self, *asked: Asked) -> fault_verdict.Told:
        """Have a batch of counting jobs accepted."""
        for content in {each.content for each in asked}:
            self.service.upload(content)
        answer = self.service.simulate(*(each.config() for each in asked))
        return fault_verdict.Told(
            batch_id=answer.batch_id, asked=asked, rows=fault_load.rows(answer.results)
        )

    def rows(self, told: fault_verdict.Told) -> Sequence[types_pb2.MultiJobResult]:
        """The rows of a batch as they are now."""
        asked = batch_service_pb2.ListBatchResultsRequest(batch_id=told.batch_id)
        return list(
            self.service.batches.ListBatchResults(
                asked, timeout=slurm_faults_cluster.SECONDS
            ).results
        )

    def wait_until_ended(
        self, told: fault_verdict.Told, meanwhile: Callable[[], object] = lambda: None
    ) -> Sequence[types_pb2.MultiJobResult]:
        """Wait until all rows of a batch have ended; return them."""

        def ended() -> Sequence[types_pb2.MultiJobResult] | None:
            meanwhile()
            rows = self.rows(told)
            return rows if all(row.new_status in calls.TERMINAL for row in rows) else None

        return slurm_faults_cluster.wait_for(ended, "the batch to end")

    def assert_whole(self, *told: fault_verdict.Told, may_be_lost: int = 0) -> None:
        """Nothing was lost, doubled or wrong; so many attempts may have been lost on the way."""
        kills = fault_verdict.Kills(servers=0, runners=1, attempts_at_once=may_be_lost)
        found = fault_load.found(self.service, told)
        problems = fault_verdict.problems(told, found, self.tally.counts(), kills)
        assert not problems, "\n".join(problems)

    def start(self, config: types_pb2.JobConfig) -> job_service_pb2.Job:
        """Have one job accepted, and wait until it runs."""
        job_id = self.service.ask(config).job_id
        return self.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)

    def gated(
        self,
        gate: Gate,
        **fields: Any,  # noqa: ANN401 - by name
    ) -> types_pb2.JobConfig:
        """The config of a job that waits at the gate."""
        return calls.config("gated", self.service.upload(gate.content), **fields)

    def wait_for_status(self, job_id: str, *statuses: int) -> job_service_pb2.Job:
        """Wait until a job is so."""

        def reached() -> job_service_pb2.Job | None:
            job = self.service.job(job_id)
            return job if job.status in statuses else None

        try:
            return slurm_faults_cluster.wait_for(reached, f"{job_id} to be {statuses}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.service.job(job_id)}") from error

    def wait_for_reason(self, job_id: str, part: str) -> None:
        """Wait until a job's reason says this."""
        slurm_faults_cluster.wait_for(
            lambda: part in self.service.job(job_id).reason, f"{job_id} to say {part}"
        )

    def attempt_dir(self, job_id: str, number: int) -> pathlib.Path:
        """The folder of an attempt."""
        (found,) = (self.data_dir / "attempts").glob(f"*/{job_id}/{number}")
        return found

    def queued(self) -> dict[str, str]:
        """The state of each task of this server's in Slurm's queue, by its id."""
        deployment_id = (self.data_dir / "deployment_id").read_text().strip()
        words = self.cluster.command("squeue", "-h", "-r", "-o", "%i %T %j").splitlines()
        tasks = [line.split() for line in words]
        return {task: state for task, state, name in tasks if deployment_id in name}


@contextlib.contextmanager
def serving(
    folder: pathlib.Path,
    cluster: SlurmCluster,
    *,
    expected_seconds: float | None = None,
    **flags: object,
) -> Iterator[Site]:
    """Run a server on this cluster; `expected_seconds` is what the counting method declares."""
    tally = fault_tally.Tally(folder / "outside")
    methods_dir = folder / "methods"
    tally.install(methods_dir)
    if expected_seconds is not None:
        _declare(methods_dir, fault_tally.METHOD, expected_seconds)
    for name, script in {"gated": _GATED, "spinning": _SPINNING, "eating": _EATING}.items():
        site.install(methods_dir, name, script)
    given = {"engine": "slurm", "retry_first_seconds": 0.2} | flags
    slurm_faults_cluster.put_back_nodes(cluster)
    cluster.await_nodes()
    try:
        with (
            live_server.as_process(folder, methods_dir, cluster.environment, **given) as server,
            contextlib.ExitStack() as ends,
        ):
            # Before the server is waited for: jobs of a test that failed may run for ever.
            ends.callback(cluster.end_jobs)
            channel = ends.enter_context(grpc.insecure_channel(server.address))
            made = Site(folder, cluster, channel, tally)
            made.wait_until_engine(serves=True)
            try:
                yield made
            except BaseException as error:
                error.add_note(_told(made, server))
                raise
            slurm_faults_cluster.wait_for(lambda: not made.queued(), "what Slurm has of it to go")
    finally:
        live_server.wait_until_gone(folder / "data")


def seconds(duration: duration_pb2.Duration) -> float:
    """How long that is."""
    return duration.ToTimedelta().total_seconds()


def _told(site: Site, server: live_server.ServerProcess) -> str:
    """What everybody has to say, for whoever looks for what went wrong."""
    log = server.log.read_text()[-_LOG_CHARACTERS:]
    with contextlib.suppress(AssertionError):  # the controller may be what is broken
        log += site.cluster.command("squeue", "-t", "all", "-o", "%i %j %T %N %r")
        log += site.cluster.command("sinfo", "-N", "-o", "%N %T %E")
    controller = site.cluster.folder / "log" / "slurmctld.log"
    return f"{log}\n{controller.read_text(errors='replace')[-_LOG_CHARACTERS:]}"


def _declare(methods_dir: pathlib.Path, method: str, expected_seconds: float) -> None:
    path = methods_dir / "commands" / f"{method}.json"
    manifest = json.loads(path.read_text()) | {"expected_seconds": expected_seconds}
    path.write_text(json.dumps(manifest))
