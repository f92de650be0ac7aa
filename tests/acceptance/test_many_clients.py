"""Many clients at one instant, each on a connection of its own: one run, and everybody gets it."""

import concurrent.futures
import pathlib
import threading
from collections.abc import Callable

import grpc

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, site

CLIENTS = 100


class Crowd:
    """Clients that ask for one config at one instant, by streams."""

    def __init__(self, address: str, config: types_pb2.JobConfig) -> None:
        self._address = address
        self._config = config
        self._ready = threading.Barrier(CLIENTS)
        self.accepted = threading.Semaphore(0)
        """Released by every client whose batch is durable."""

    def answers(self, meanwhile: Callable[[], None]) -> list[types_pb2.MultiJobResult]:
        """What each client was told; `meanwhile` is done as soon as all of them have asked."""
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            asked = [clients.submit(self._ask) for _ in range(CLIENTS)]
            meanwhile()
            return [each.result() for each in asked]

    def wait_until_accepted(self) -> None:
        for _ in range(CLIENTS):
            assert self.accepted.acquire(timeout=60)

    def _ask(self) -> types_pb2.MultiJobResult:
        with grpc.insecure_channel(
            self._address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            grpc.channel_ready_future(channel).result(60)
            self._ready.wait(60)
            *first, last = self._events(calls.Service(channel))
        assert last.statistics.final
        (told,) = [event.result for event in first if event.HasField("result")]
        return told

    def _events(self, service: calls.Service) -> list[job_service_pb2.StreamSimulateJobsResponse]:
        events = []
        for event in service.stream(self._config, timeout=100):
            events.append(event)
            if event.HasField("accepted"):
                self.accepted.release()
        return events


def outcomes(rows: list[types_pb2.MultiJobResult]) -> dict[str, int]:
    names = [types_pb2.Outcome.Name(row.outcome).removeprefix("OUTCOME_") for row in rows]
    return {name: names.count(name) for name in set(names)}


def answer(row: types_pb2.MultiJobResult) -> tuple[object, ...]:
    """What has to be equal for all."""
    return row.job_id, row.new_status, row.output, row.output_hash, row.attempt, row.end_time.nanos


def test_one_new_config_of_a_hundred_clients_is_one_run_and_a_hundred_equal_answers(
    grpc_server: str, service: calls.Service, tmp_path: pathlib.Path
) -> None:
    tally = site.Tally(tmp_path / "tally")
    config = calls.config("tally", service.upload(tally.content), {"code": 0})
    crowd = Crowd(grpc_server, config)
    rows = crowd.answers(crowd.wait_until_accepted)
    assert tally.runs == 1
    assert len({answer(row) for row in rows}) == 1
    assert rows[0].new_status == types_pb2.JOB_STATUS_COMPLETED
    assert outcomes(rows)["SUBMITTED"] == 1
    assert service.job(rows[0].job_id).attempt == 1


def test_after_a_failure_a_hundred_clients_get_one_new_attempt_and_both_statuses(
    grpc_server: str, service: calls.Service, tmp_path: pathlib.Path
) -> None:
    tally = site.Tally(tmp_path / "tally")
    config = calls.config("recover", service.upload(tally.content))
    assert service.run(config).new_status == types_pb2.JOB_STATUS_FAILED
    crowd = Crowd(grpc_server, config)

    def let_go() -> None:
        crowd.wait_until_accepted()
        tally.gate.open(b"recovered\n")

    rows = crowd.answers(let_go)
    assert tally.runs == 2
    assert outcomes(rows) == {"RESUBMITTED": 1, "FOUND_IN_PROGRESS": CLIENTS - 1}
    assert {(row.old_status, row.new_status, row.output) for row in rows} == {
        (types_pb2.JOB_STATUS_FAILED, types_pb2.JOB_STATUS_COMPLETED, "recovered\n")
    }
    assert len({answer(row) for row in rows}) == 1
    assert len(service.job(rows[0].job_id).attempts) == 2


def test_a_hundred_clients_of_a_job_that_goes_on_failing_never_run_it_twice_at_a_time(
    grpc_server: str, service: calls.Service, tmp_path: pathlib.Path
) -> None:
    tally = site.Tally(tmp_path / "tally")
    config = calls.config("tally", service.upload(tally.content), {"code": 3})
    service.run(config)
    crowd = Crowd(grpc_server, config)
    rows = crowd.answers(crowd.wait_until_accepted)
    for row in rows:
        assert row.old_status == types_pb2.JOB_STATUS_FAILED
        assert row.new_status == types_pb2.JOB_STATUS_FAILED
    job = service.job(rows[0].job_id)
    assert 2 <= tally.runs == job.attempt == len(job.attempts) <= 5
