"""Several servers over one store: whoever is asked answers for all, and who dies leaves nothing."""

import concurrent.futures
import json
import pathlib
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from dshpc.v1 import file_service_pb2, job_service_pb2, types_pb2
from support import batches_servers, calls, job_calls, live_server, site
from support.batches_servers import Cluster, Server
from support.postgres import Postgres
from support.postgres_fixtures import (
    mortal_postgres,
    mortal_postgres_server,
    postgres_server,
    postgres_tables,
    postgres_url,
)

__all__ = [
    "mortal_postgres",
    "mortal_postgres_server",
    "postgres_server",
    "postgres_tables",
    "postgres_url",
]

RUNNING = types_pb2.JOB_STATUS_RUNNING
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
CANCELLED = types_pb2.JOB_STATUS_CANCELLED
FAILED = types_pb2.JOB_STATUS_FAILED
# Each run is counted, then waits to be let go.
COUNTED = 'gate=$(cat -- "$1"); echo run >> "$gate.tally"; cat -- "$gate"'


class Held(site.Gate):
    """A job that counts its runs outside the service, and waits until it is let go."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(path)
        self._tally = path.with_name(f"{path.name}.tally")
        self.file_hash = site.hash_of(self.content)

    @property
    def config(self) -> types_pb2.JobConfig:
        return calls.config("counted", self.file_hash)

    @property
    def runs(self) -> int:
        return len(self._tally.read_text().split()) if self._tally.exists() else 0


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = site.write(tmp_path_factory.mktemp("site"))
    site.install(folder, "counted", COUNTED)
    return folder


@pytest.fixture(scope="module")
def lasting(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path, postgres_server: Postgres
) -> Iterator[list[Server]]:
    """Three servers that no test ends; each has one slot."""
    url = postgres_server.url(postgres_server.create())
    with batches_servers.cluster(tmp_path_factory.mktemp("lasting"), methods_dir, url) as made:
        yield [made.start() for _ in range(3)]


@pytest.fixture
def cluster(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, postgres_url: str
) -> Iterator[Cluster]:
    with batches_servers.cluster(tmp_path, methods_dir, postgres_url) as made:
        yield made


@pytest.fixture
def held(tmp_path: pathlib.Path) -> list[Held]:
    return [Held(tmp_path / f"gate-{number}") for number in range(2)]


def running(server: Server, jobs: list[Held]) -> list[job_service_pb2.Job]:
    """Submit these jobs to this server and wait until they run, wherever that is."""
    for each in jobs:
        server.service.upload(each.content)
    answer = server.service.simulate(*(each.config for each in jobs))
    return [server.service.wait_for_status(row.job_id, RUNNING, FAILED) for row in answer.results]


def test_of_two_servers_asked_for_one_named_request_at_one_instant_both_have_its_batch(
    lasting: list[Server], tmp_path: pathlib.Path
) -> None:
    held = Held(tmp_path / "gate")
    lasting[0].service.upload(held.content)
    for number in range(4):
        asked = job_service_pb2.SimulateJobsRequest(
            jobs=[held.config],
            options=types_pb2.BatchOptions(request_id=str(uuid.UUID(int=number))),
        )
        waiting = [
            server.service.jobs.SimulateJobs.future(asked, timeout=60) for server in lasting * 3
        ]
        assert len({each.result().batch_id for each in waiting}) == 1
        other = job_service_pb2.SimulateJobsRequest(jobs=[held.config] * 2, options=asked.options)
        for server in lasting:
            refused = job_calls.refused(server.service.jobs.SimulateJobs, other)
            assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
    held.open()
    assert lasting[1].service.run(held.config).new_status == COMPLETED
    assert held.runs == 1


def test_a_batch_is_run_by_all_and_its_stream_tells_what_comes_of_it_anywhere(
    lasting: list[Server], held: list[Held]
) -> None:
    a = lasting[0]
    running(a, held)  # each has one slot: so no server has both
    stream = a.service.stream(*(each.config for each in held))
    assert next(stream).accepted.total_jobs == 2
    for number, each in enumerate(held):
        each.open(b"%d\n" % number)
        assert next(stream).result.output == f"{number}\n"
    assert next(stream).statistics.completed_jobs == 2
    assert [each.runs for each in held] == [1, 1]


def test_a_long_poll_and_a_log_follow_what_another_server_runs(
    cluster: Cluster, held: list[Held]
) -> None:
    a, b = cluster.start(), cluster.start()
    jobs = running(a, held)
    for asked in (a, b):
        listed = {job.job_id for page in job_calls.listed(asked.service) for job in page.jobs}
        assert listed == {job.job_id for job in jobs}
    waiting = [
        asked.service.jobs.GetJob.future(
            job_service_pb2.GetJobRequest(job_id=job.job_id, wait=job_calls.duration(60)),
            timeout=60,
        )
        for asked in (a, b)
        for job in jobs
    ]
    logs = [
        job_calls.log(a.service, job.job_id, log=job_calls.LOG_STDOUT, follow=True) for job in jobs
    ]
    for each in held:
        each.open(b"told\n")
    assert {each.result().job.output for each in waiting} == {"told\n"}
    assert [b"".join(part.data for part in log) for log in logs] == [b"told\n"] * 2


def test_a_job_is_cancelled_at_whatever_server(lasting: list[Server], held: list[Held]) -> None:
    a, b, _ = lasting
    for job in running(b, held):
        ended = job_calls.cancel(a.service, job.job_id, "enough")
        assert (ended.status, ended.reason) == (CANCELLED, "Cancelled: enough")
    assert [each.runs for each in held] == [1, 1]


def test_files_are_everybodys(lasting: list[Server]) -> None:
    a, b, _ = lasting
    data = a.service.upload(b"shared\n")
    config = calls.config("echo", data)
    assert b.service.run(config).output == "shared\n"
    assert a.service.ask(config).outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    b.service.files.DeleteFile(file_service_pb2.DeleteFileRequest(file_hash=data), timeout=60)
    refused = a.service.ask(calls.config("echo", data, {"another": 1}))
    assert refused.outcome == types_pb2.OUTCOME_REJECTED
    assert a.service.upload(b"shared\n") == data
    assert b.service.run(calls.config("echo", data, {"another": 1})).output == "shared\n"


def test_a_thousand_equal_configs_at_three_servers_make_one_new_attempt(
    lasting: list[Server], tmp_path: pathlib.Path
) -> None:
    tally = site.Tally(tmp_path / "tally")
    data = lasting[0].service.upload(tally.content)
    config = calls.config("recover", data)
    assert lasting[0].service.run(config).new_status == FAILED
    assert tally.runs == 1

    def ask(client: int) -> list[types_pb2.MultiJobResult]:
        with grpc.insecure_channel(lasting[client % 3].address) as channel:
            service = calls.Service(channel)
            return [service.ask(config) for _ in range(50)]

    with concurrent.futures.ThreadPoolExecutor(20) as clients:
        rows = [row for told in clients.map(ask, range(20)) for row in told]
    assert len(rows) == 1000
    outcomes = [row.outcome for row in rows]
    assert outcomes.count(types_pb2.OUTCOME_RESUBMITTED) == 1
    assert outcomes.count(types_pb2.OUTCOME_FOUND_IN_PROGRESS) == 999
    assert {(row.old_status, row.attempt) for row in rows} == {(FAILED, 2)}
    tally.gate.open(b"recovered\n")
    assert lasting[1].service.run(config).output == "recovered\n"
    assert tally.runs == 2


def test_a_thousand_polls_of_a_failing_batch_submit_nothing(
    lasting: list[Server], tmp_path: pathlib.Path
) -> None:
    tally = site.Tally(tmp_path / "tally")
    data = lasting[0].service.upload(tally.content)
    answer = lasting[0].service.simulate(calls.config("tally", data, {"code": 3}), finished=True)
    job_id = answer.results[0].job_id

    def poll(client: int) -> set[int]:
        with grpc.insecure_channel(lasting[client % 3].address) as channel:
            service = calls.Service(channel)
            return {service.job(job_id).attempt for _ in range(50)}

    with concurrent.futures.ThreadPoolExecutor(20) as clients:
        assert set().union(*clients.map(poll, range(20))) == {1}
    assert tally.runs == 1


def test_who_is_killed_leaves_its_jobs_running_and_another_takes_their_results(
    cluster: Cluster, held: list[Held]
) -> None:
    a = cluster.start(slots=2)
    before = running(a, held)
    b = cluster.start()
    a.end(signal.SIGKILL)
    pids = [int(job.engine_job_id) for job in before]
    assert job_calls.alive(pids) == pids
    stream = b.service.stream(*(each.config for each in held))
    assert next(stream).accepted.total_jobs == 2
    for each in held:
        each.open(b"survived\n")
    results = [next(stream).result for _ in held]
    assert {(row.output, row.attempt) for row in results} == {("survived\n", 1)}
    assert next(stream).statistics.completed_jobs == 2
    assert [each.runs for each in held] == [1, 1]
    (recovered,) = told(cluster, "recovered")
    assert recovered["attempts"] == recovered["running"] + recovered["ended"] == 2


def told(cluster: Cluster, event: str) -> list[dict[str, Any]]:
    """What the log says of one kind of event."""
    lines = [json.loads(line) for line in cluster.log().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_what_ended_while_its_server_was_dead_is_taken_in_by_another(
    cluster: Cluster, held: list[Held]
) -> None:
    a = cluster.start(slots=2)
    jobs = running(a, held)
    a.pause()
    for each in held:
        each.open(b"nobody was there\n")
    live_server.wait_for(lambda: not job_calls.alive(_pids(jobs)), "the jobs to end")
    a.end(signal.SIGKILL)
    b = cluster.start()
    for each in held:
        row = b.service.run(each.config)
        assert (row.output, row.attempt) == ("nobody was there\n", 1)
    assert [each.runs for each in held] == [1, 1]
    (dead,), (recovered,) = told(cluster, "servers.dead"), told(cluster, "recovered")
    assert dead["servers"] == recovered["servers"]
    assert (dead["attempts"], recovered["attempts"], recovered["ended"]) == (2, 2, 2)


def _pids(jobs: list[job_service_pb2.Job]) -> list[int]:
    return [int(job.engine_job_id) for job in jobs]


def test_who_is_stopped_hands_its_jobs_over(cluster: Cluster, held: list[Held]) -> None:
    # A lease of an hour: nobody waits for its end.
    a = cluster.start(slots=2, lease_seconds=3600)
    running(a, held)
    b = cluster.start(lease_seconds=3600)
    assert a.end() == 0
    assert len(list((cluster.data_dir / "servers").iterdir())) == 1  # it took its lock with it
    for each in held:
        each.open(b"handed over\n")
        row = b.service.run(each.config)
        assert (row.output, row.attempt) == ("handed over\n", 1)
    assert [each.runs for each in held] == [1, 1]


def test_who_stood_still_past_its_lease_comes_back_as_another_and_repeats_nothing(
    cluster: Cluster, held: list[Held]
) -> None:
    a = cluster.start(slots=2)
    running(a, held)
    b = cluster.start(slots=2)
    a.pause()
    live_server.wait_for(lambda: "servers.dead" in cluster.log(), "b to take over")
    first, second = held
    first.open(b"meanwhile\n")
    assert b.service.run(first.config).output == "meanwhile\n"
    a.resume()
    live_server.wait_for(lambda: "server.fenced" in cluster.log(), "a to rejoin")
    second.open(b"later\n")
    for asked in (a, b):
        rows = asked.service.simulate(*(each.config for each in held), finished=True).results
        assert [(row.output, row.attempt) for row in rows] == [("meanwhile\n", 1), ("later\n", 1)]
    assert [each.runs for each in held] == [1, 1]
    data = a.service.upload(b"serves on\n")
    assert a.service.run(calls.config("echo", data)).output == "serves on\n"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_database_that_goes_and_comes_back_costs_nothing_but_time(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, mortal_postgres: Postgres, how: str
) -> None:
    database = mortal_postgres
    url = database.url(database.create())
    jobs = [Held(tmp_path / f"gate-{number}") for number in range(2)]
    with batches_servers.cluster(tmp_path, methods_dir, url) as cluster:
        a, b = cluster.start(), cluster.start()
        running(a, jobs)
        stream = a.service.stream(*(each.config for each in jobs))
        assert next(stream).accepted.total_jobs == 2
        getattr(database, how)()
        refused = calls.refusal(lambda: b.service.ask(jobs[0].config))
        assert refused.code == grpc.StatusCode.UNAVAILABLE
        assert [each.type_url for each in refused.status.details] == [
            "type.googleapis.com/google.rpc.RetryInfo"
        ]
        for each in jobs:
            each.open(b"in the dark\n")
        live_server.wait_for(
            lambda: "result.waits" in cluster.log(), "an end that cannot be recorded"
        )
        database.start()
        rows = [next(stream).result for _ in jobs]
        assert {(row.output, row.attempt) for row in rows} == {("in the dark\n", 1)}
        assert next(stream).statistics.completed_jobs == 2
        data = b.service.upload(b"on again\n")
        assert b.service.run(calls.config("echo", data)).output == "on again\n"
        # Each server tells it once, however often it has tried.
        assert len(told(cluster, "store.unavailable")) == 2
        live_server.wait_for(lambda: len(told(cluster, "store.answers_again")) == 2, "both lines")
        assert 1 <= len(told(cluster, "result.waits")) <= 2
    assert [each.runs for each in jobs] == [1, 1]
