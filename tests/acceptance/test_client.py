"""Both clients against the real server: each method does what it says."""

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from dshpc.client import (
    Client,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    statuses,
)
from dshpc.v1 import job_service_pb2, types_pb2
from support import both_clients, calls, site

UNKNOWN = "0" * 64


@pytest.fixture(params=both_clients.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def client(kind: str, server_process: str) -> Iterator[Client]:
    with both_clients.connected(kind, server_process) as client:
        yield client


@pytest.fixture
def held(client: Client, kind: str, tmp_path: pathlib.Path) -> Iterator[tuple[str, site.Gate]]:
    """A job that runs until its gate is opened; its id."""
    gate = site.Gate(tmp_path / kind)
    config = calls.config("hold", client.upload_bytes(gate.content))
    (row,) = client.run([config]).results
    yield row.job_id, gate
    client.cancel(row.job_id)  # harmless once it has ended


def finished(client: Client, *configs: types_pb2.JobConfig) -> list[types_pb2.MultiJobResult]:
    answer = client.run(configs, until=types_pb2.UNTIL_FINISHED)
    assert answer.statistics.final
    return list(answer.results)


def test_a_file_goes_there_and_its_output_comes_back(
    client: Client, kind: str, tmp_path: pathlib.Path
) -> None:
    content = f"by {kind}, ".encode() * 200_000  # several chunks, and too long for inline
    (tmp_path / "input").write_bytes(content)
    file_hash = client.upload(tmp_path / "input")

    (row,) = finished(client, calls.config("echo", file_hash, {"by": kind}))

    assert row.output_truncated
    assert client.download(row.output_hash, tmp_path / "output") == len(content)
    assert (tmp_path / "output").read_bytes() == client.read(row.output_hash) == content


def test_files_are_known_listed_and_removed(
    client: Client, kind: str, tmp_path: pathlib.Path
) -> None:
    paths = [tmp_path / f"{kind}-{number}" for number in range(3)]
    for path in paths:
        path.write_text(path.name)

    uploaded = client.upload_missing([*paths, paths[0]])
    first, second, third, again = (file.file_hash for file in uploaded)

    assert again == first
    assert not client.find_missing([first, second, third])
    assert client.file(second).filename == f"{kind}-1"
    assert {first, second, third} <= {file.file_hash for file in client.files(page_size=2)}
    client.delete_file(third)
    assert client.find_missing([second, third]) == [third]
    with pytest.raises(NotFoundError):
        client.file(third)


def test_a_file_that_a_job_needs_stays(client: Client, held: tuple[str, site.Gate]) -> None:
    job_id, gate = held
    (file_hash,) = client.job(job_id).inputs.values()

    with pytest.raises(PreconditionError):
        client.delete_file(file_hash)
    gate.open()
    assert [job.status for job in client.watch(job_id)][-1] == types_pb2.JOB_STATUS_COMPLETED
    client.delete_file(file_hash)


def test_a_stream_and_a_running_batch_tell_every_row(client: Client, kind: str) -> None:
    file_hash = client.upload_bytes(b"streamed\n")
    configs = [
        *(calls.config("echo", file_hash, {"by": kind, "row": row}) for row in range(3)),
        calls.config("echo", file_hash, {"by": kind, "row": 0}),
        calls.config("horoscope", file_hash),
    ]

    events = list(client.stream(configs, display_name=kind))
    batch = client.run_each(configs)
    rows = {row.index: row for row in batch}

    assert events[0].accepted.total_jobs == 5
    assert events[-1].statistics.completed_jobs == 4
    assert rows.keys() == set(range(5))
    assert rows[3].duplicate_of_index == 0
    assert rows[4].outcome == types_pb2.OUTCOME_REJECTED
    assert batch.statistics is not None
    assert batch.statistics.found_completed_jobs == 4
    rejected = client.results(batch.batch_id, outcomes=[types_pb2.OUTCOME_REJECTED])
    assert [row.index for row in rejected] == [4]
    bare = client.results(batch.batch_id, page_size=2, max_inline_output_bytes=0)
    assert [row.HasField("output") for row in bare] == [False] * 5


def test_a_batch_is_validated_without_being_accepted(client: Client, kind: str) -> None:
    file_hash = client.upload_bytes(b"validated\n")
    options = types_pb2.BatchOptions(validate_only=True)
    configs = [calls.config("echo", file_hash, {"by": kind})]

    answer = client.run(configs, options=options)
    events = list(client.stream(configs, options=options))

    assert answer.batch_id == ""
    assert answer.results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    assert events[-1].HasField("statistics")
    with pytest.raises(NotFoundError):
        client.job(answer.results[0].job_id)


def test_a_job_is_watched_until_it_ends(client: Client, held: tuple[str, site.Gate]) -> None:
    job_id, gate = held
    seen = []
    for job in client.watch(job_id):
        seen.append(job.status)
        if job.status == types_pb2.JOB_STATUS_RUNNING:
            gate.open()

    assert seen[-1] == types_pb2.JOB_STATUS_COMPLETED
    assert set(seen[:-1]) <= statuses.IN_PROGRESS
    assert client.job(job_id, wait_seconds=30).output == "let go\n"
    listed = client.jobs(statuses=[types_pb2.JOB_STATUS_COMPLETED], method_name="hold")
    assert job_id in {job.job_id for job in listed}


def test_a_job_is_cancelled_for_everybody(client: Client, held: tuple[str, site.Gate]) -> None:
    job_id, _ = held

    client.cancel(job_id, reason="no longer wanted")
    *_, last = client.watch(job_id)

    assert last.status == types_pb2.JOB_STATUS_CANCELLED
    assert "no longer wanted" in last.reason
    assert client.cancel(job_id).status == types_pb2.JOB_STATUS_CANCELLED


def test_both_streams_of_a_job_are_read(client: Client, kind: str) -> None:
    (row,) = finished(client, calls.config("no_input", parameters={"by": kind}))
    (failed,) = finished(
        client, calls.config("exit", client.upload_bytes(b""), {"code": 3, "by": kind})
    )

    def read(job_id: str, **how: int) -> bytes:
        parts = list(client.log(job_id, **how))  # type: ignore[arg-type] # its words are all ints
        return b"".join(part.data for part in parts)

    assert read(row.job_id, log=job_service_pb2.LOG_STDOUT) == b"input: /dev/null\n"
    assert read(failed.job_id) == b"leaving\n"
    assert read(failed.job_id, tail_bytes=4, follow=True) == b"ing\n"
    assert read(failed.job_id, offset=2, limit_bytes=3) == b"avi"


def test_methods_and_the_server_are_described(client: Client) -> None:
    assert "echo" in [method.method_name for method in client.methods()]
    found = client.method("declared")
    assert found.versions[0].function_hash == found.method.function_hash
    again = client.method("declared", function_hash=found.method.function_hash)
    assert again.method == found.method
    assert client.server_info().engine == "local"


def test_what_is_refused_has_its_error(client: Client, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.run([])
    assert caught.value.violations
    for ask in (
        lambda: client.job(UNKNOWN),
        lambda: client.cancel(UNKNOWN),
        lambda: list(client.log(UNKNOWN)),
        lambda: list(client.watch(UNKNOWN)),
        lambda: client.method("horoscope"),
        lambda: client.method("echo", function_hash=UNKNOWN),
        lambda: client.delete_file(UNKNOWN),
        lambda: client.read(UNKNOWN),
        lambda: client.download(UNKNOWN, tmp_path / "nothing"),
    ):
        with pytest.raises(NotFoundError):
            ask()
    assert not list(tmp_path.iterdir())


def test_leaving_a_stream_leaves_the_jobs(client: Client, held: tuple[str, site.Gate]) -> None:
    job_id, gate = held
    (file_hash,) = client.job(job_id).inputs.values()

    with contextlib.closing(client.stream([calls.config("hold", file_hash)])) as events:
        assert next(events).HasField("accepted")

    gate.open()
    *_, last = client.watch(job_id)
    assert last.status == types_pb2.JOB_STATUS_COMPLETED
