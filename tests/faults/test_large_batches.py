"""A server that is killed while it accepts a large batch: all of it is there then, or nothing.

A case asks for a batch of two pieces and one row more, and has its jobs run. The pieces are small,
except in one case, whose thousand jobs take 5 to 10 seconds.
"""

import contextlib
import pathlib
import signal
from collections.abc import Iterator

import grpc
import pytest
import sqlalchemy

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from dshpc_server.batches import staging
from dshpc_server.store.sql import tables
from dshpc_server.store.sql.store import SqlStore
from support import calls, fault_small_pieces, fault_tally, live_server
from support.fault_tally import Asked, Mode
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

SECONDS = 120.0
WAITED_FOR = 7
"""The row of which the job is asked for by another batch, too."""
SEALED = [
    ("sqlite", "large.sealed:1"),
    ("sqlite as it is", "large.piece_accepted:2"),
    ("postgres", "large.piece_accepted:1"),
]


class Killed:
    """A server, its store, and what its methods leave outside."""

    def __init__(self, folder: pathlib.Path, url: str, *, has_small_pieces: bool) -> None:
        self.rows = (
            fault_small_pieces.LARGE_ROWS + 1 if has_small_pieces else staging.LARGE_ROWS + 1
        )
        """Of the batch."""
        self._kind = (
            fault_small_pieces.SmallPieces if has_small_pieces else live_server.ServerProcess
        )
        self._folder = folder
        self._methods_dir = folder / "methods"
        self._url = url
        self.tally = fault_tally.Tally(folder / "outside")
        self.tally.install(self._methods_dir)

    def dies(self, point: str) -> list[job_service_pb2.StreamSimulateJobsResponse]:
        """Ask for one job, then for the sweep it is in, and die at this point of that.

        What the stream that asked for it was told.
        """
        told: list[job_service_pb2.StreamSimulateJobsResponse] = []
        with contextlib.ExitStack() as exits:
            server = self._kind(self._folder, self._methods_dir, crash_at=point, **self._flags())
            exits.callback(server.stop, signal.SIGKILL)
            channel = exits.enter_context(grpc.insecure_channel(server.address))
            service = calls.Service(channel)
            service.upload(_asked().content)
            service.simulate(_asked().config())
            asked = job_service_pb2.StreamSimulateJobsRequest(jobs=[_swept(self.rows)])
            with pytest.raises(grpc.RpcError):
                told.extend(service.jobs.StreamSimulateJobs(asked, timeout=SECONDS))
            assert server.process.wait(live_server.STOP_SECONDS) == -signal.SIGKILL
        return told

    @contextlib.contextmanager
    def goes_on(self) -> Iterator[calls.Service]:
        """Go on with the next server."""
        with (
            live_server.as_process(
                self._folder, self._methods_dir, None, self._kind, **self._flags()
            ) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            yield calls.Service(channel)

    @contextlib.contextmanager
    def followed(self) -> Iterator[calls.Service]:
        """Go on with the next server, until nothing is staged any more."""
        with self.goes_on() as service:
            live_server.wait_for(lambda: not self.staged(), "what is staged to be gone")
            yield service

    def staged(self) -> int:
        """How many pieces the store keeps."""
        pieces = sqlalchemy.select(sqlalchemy.func.count()).select_from(tables.staged_pieces)
        with self._store() as store, store._engine.connect() as connection:
            count: int = connection.execute(pieces).scalar_one()
            return count

    def batches(self) -> list[tuple[str, int]]:
        """The batches there are, and how many rows each has."""
        with self._store() as store:
            found = store.find_batches(after=None, limit=99)
            return [(each.batch_id, each.row_count) for each in found]

    @contextlib.contextmanager
    def _store(self) -> Iterator[SqlStore]:
        url = self._url or self._folder / "data/dshpc.sqlite"
        with contextlib.closing(SqlStore.open(url, read_only=True)) as store:
            yield store

    def _flags(self) -> dict[str, object]:
        own = {"store": self._url} if self._url else {}
        return {"min_free_bytes": 0, **own}


@pytest.fixture
def killed(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Killed:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return Killed(tmp_path, url, has_small_pieces=request.param != "sqlite as it is")


@pytest.mark.parametrize("killed", ["sqlite", "postgres"], indirect=True)
def test_of_a_batch_that_was_not_sealed_nothing_is_left_and_what_others_asked_for_runs(
    killed: Killed,
) -> None:
    killed.dies("large.staged:1")
    assert killed.staged()
    with killed.followed() as service:
        assert [rows for _, rows in killed.batches()] == [1]
        asked = job_service_pb2.ListJobsRequest()
        (job,) = service.jobs.ListJobs(asked, timeout=SECONDS).jobs
        service.wait_for_status(job.job_id, types_pb2.JOB_STATUS_COMPLETED)
        answer = sweep(service, killed.rows)
        assert answer.statistics.total_jobs == killed.rows
        assert answer.statistics.submitted_jobs == killed.rows - 1
        assert answer.statistics.found_completed_jobs == 1
        assert_each_ran_once(killed, service, answer.batch_id)


@pytest.mark.parametrize(("killed", "point"), SEALED, indirect=["killed"])
def test_a_batch_that_was_sealed_is_accepted_to_its_last_row_by_the_next_server(
    killed: Killed, point: str
) -> None:
    killed.dies(point)
    with killed.followed() as service:
        ((batch_id, _),) = [each for each in killed.batches() if each[1] == killed.rows]
        assert_each_ran_once(killed, service, batch_id)


@pytest.mark.parametrize("killed", ["sqlite", "postgres"], indirect=True)
def test_who_was_told_of_a_batch_is_told_all_of_it_by_the_next_server(killed: Killed) -> None:
    # Two pieces are written after it was told.
    (told,) = killed.dies("large.piece_accepted:2")
    assert told.accepted.total_jobs == killed.rows
    with killed.goes_on() as service:
        asked = batch_service_pb2.WatchBatchRequest(
            batch_id=told.accepted.batch_id, resume_token=told.resume_token
        )
        events = list(service.batches.WatchBatch(asked, timeout=SECONDS))
        rows = [event.result for event in events if event.HasField("result")]
        assert sorted(row.index for row in rows) == list(range(killed.rows))
        assert events[-1].statistics.completed_jobs == killed.rows
        assert_each_ran_once(killed, service, told.accepted.batch_id)


def assert_each_ran_once(killed: Killed, service: calls.Service, batch_id: str) -> None:
    def has_ended() -> bool:
        return {row.new_status for row in rows(service, batch_id)} <= set(calls.TERMINAL)

    live_server.wait_for(has_ended, "all jobs to end", seconds=SECONDS)
    found = rows(service, batch_id)
    assert [row.index for row in found] == list(range(killed.rows))
    assert [row.sweep_index for row in found] == list(range(killed.rows))
    assert {row.new_status for row in found} == {types_pb2.JOB_STATUS_COMPLETED}
    runs = killed.tally.counts()
    assert len(runs.starts) == runs.starts.total() == killed.rows
    assert runs.starts == runs.ends
    assert runs.beside == []


def sweep(service: calls.Service, rows: int) -> job_service_pb2.SimulateJobsResponse:
    """Ask for the large batch."""
    asked = job_service_pb2.SimulateJobsRequest(jobs=[_swept(rows)])
    return service.jobs.SimulateJobs(asked, timeout=SECONDS)


def _swept(rows: int) -> types_pb2.JobConfig:
    config = _asked().config()
    config.sweep.axes.add(
        parameter="n", range=types_pb2.SweepRange(start=0, stop=rows - 1, count=rows)
    )
    return config


def rows(service: calls.Service, batch_id: str) -> list[types_pb2.MultiJobResult]:
    asked = batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id, page_size=5000)
    return list(service.batches.ListBatchResults(asked, timeout=SECONDS).results)


def _asked() -> Asked:
    return Asked(mode=Mode.WORK, x=3, n=WAITED_FOR, lines=1, milliseconds=0)
