"""The real grpcurl against the real server: reflection, health, files and batches."""

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor, json_format

from dshpc.v1 import file_service_pb2, job_service_pb2, types_pb2
from support import component, documents, live_server, site

DATA = documents.ROOT / "examples/data/iris.csv"
DATA_HASH = site.hash_of(DATA.read_bytes())
SECONDS = 60
JOBS: list[dict[str, Any]] = [
    {
        "config_id": "petals",
        "method_name": "column_summary",
        "file_hash": DATA_HASH,
        "parameters": {"columns": ["petal_length_cm"]},
    },
    {"config_id": "unknown", "method_name": "nope", "file_hash": DATA_HASH},
    {
        "config_id": "unfit",
        "method_name": "column_summary",
        "file_hash": DATA_HASH,
        "parameters": {"columns": ["absent"]},
    },
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the example methods."""
    component.path("grpcurl")
    folder = tmp_path_factory.mktemp("server")
    with live_server.as_process(folder, documents.ROOT / "examples/methods") as server:
        yield server.address


class Grpcurl:
    """Runs grpcurl against one server."""

    def __init__(self, address: str) -> None:
        self._words = [component.path("grpcurl"), "-plaintext"]
        self._address = address

    def __call__(self, *words: str, sent: str | None = None) -> str:
        """Run it with these words after the address, and messages to send; its output."""
        data = [] if sent is None else ["-d", "@"]
        done = subprocess.run(
            [*self._words, *data, self._address, *words],
            input=sent or "",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upload(self) -> file_service_pb2.UploadFileResponse:
        """Upload the data."""
        content = DATA.read_bytes()
        header = {"file_hash": DATA_HASH, "size_bytes": len(content), "filename": DATA.name}
        halves = (content[:1000], content[1000:])
        parts = [
            {"header": header},
            *({"chunk": base64.b64encode(half).decode()} for half in halves),
        ]
        out = self(
            "dshpc.v1.FileService/UploadFile", sent="\n".join(json.dumps(part) for part in parts)
        )
        return json_format.Parse(out, file_service_pb2.UploadFileResponse())

    def finished(self) -> job_service_pb2.SimulateJobsResponse:
        """Ask for the jobs and wait until they have ended."""
        asked = {"jobs": JOBS, "wait": {"until": "UNTIL_FINISHED", "timeout": "60s"}}
        out = self("dshpc.v1.JobService/SimulateJobs", sent=json.dumps(asked))
        return json_format.Parse(out, job_service_pb2.SimulateJobsResponse())


@pytest.fixture
def grpcurl(address: str) -> Grpcurl:
    """The command."""
    return Grpcurl(address)


def events(out: str) -> list[job_service_pb2.StreamSimulateJobsResponse]:
    """The messages of a stream, which grpcurl prints one after the other."""
    decoder = json.JSONDecoder()
    found = []
    while text := out.strip():
        value, end = decoder.raw_decode(text)
        found.append(json_format.ParseDict(value, job_service_pb2.StreamSimulateJobsResponse()))
        out = text[end:]
    return found


def test_every_service_is_listed(grpcurl: Grpcurl) -> None:
    listed = set(grpcurl("list").split())
    assert listed >= {
        *(f"dshpc.v1.{name}Service" for name in ("Job", "Batch", "File", "Method", "Server")),
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_the_calls_of_a_service_are_listed_and_described(grpcurl: Grpcurl) -> None:
    calls = {"dshpc.v1.JobService.SimulateJobs", "dshpc.v1.JobService.StreamSimulateJobs"}
    assert calls <= set(grpcurl("list", "dshpc.v1.JobService").split())
    described = " ".join(grpcurl("describe", "dshpc.v1.JobService").split())
    assert (
        "rpc StreamSimulateJobs ( .dshpc.v1.StreamSimulateJobsRequest ) "
        "returns ( stream .dshpc.v1.StreamSimulateJobsResponse );" in described
    )


@pytest.mark.parametrize(
    "described",
    [
        types_pb2.JobConfig.DESCRIPTOR,
        types_pb2.MultiJobResult.DESCRIPTOR,
        types_pb2.JobStatistics.DESCRIPTOR,
        job_service_pb2.StreamSimulateJobsResponse.DESCRIPTOR,
    ],
    ids=lambda descriptor: str(descriptor.name),
)
def test_a_message_is_described_with_all_its_fields(
    grpcurl: Grpcurl, described: descriptor.Descriptor
) -> None:
    out = grpcurl("describe", described.full_name)
    for field in described.fields:
        assert f" {field.name} = {field.number};" in out


@pytest.mark.parametrize("service", ["", "dshpc.v1.JobService", "dshpc.engine"])
def test_health_is_serving(grpcurl: Grpcurl, service: str) -> None:
    asked = json.dumps({"service": service})

    def is_serving() -> bool:
        out = grpcurl("grpc.health.v1.Health/Check", sent=asked)
        return bool(json.loads(out) == {"status": "SERVING"})

    # The engine's health is told a moment after the port is open.
    live_server.wait_for(is_serving, f"health of '{service}'")


def test_a_watch_of_health_begins_with_what_is(address: str) -> None:
    command = [component.path("grpcurl"), "-plaintext", address, "grpc.health.v1.Health/Watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            told = "".join(watching.stdout.readline() for _ in range(3))
        finally:
            watching.terminate()
    assert json.loads(told) == {"status": "SERVING"}


def test_an_uploaded_file_is_no_longer_missing(grpcurl: Grpcurl) -> None:
    absent = "0" * 64
    asked = json.dumps({"file_hashes": [absent, DATA_HASH]})
    stored = grpcurl.upload()
    assert stored.file.file_hash == DATA_HASH
    assert stored.file.size_bytes == DATA.stat().st_size
    out = grpcurl("dshpc.v1.FileService/FindMissingFiles", sent=asked)
    answer = json_format.Parse(out, file_service_pb2.FindMissingFilesResponse())
    assert list(answer.missing_hashes) == [absent]
    assert grpcurl.upload().already_existed


def test_a_request_in_json_is_answered_row_by_row_with_statistics(grpcurl: Grpcurl) -> None:
    grpcurl.upload()
    answer = grpcurl.finished()
    petals, unknown, unfit = answer.results
    assert [row.config_id for row in answer.results] == [job["config_id"] for job in JOBS]
    assert petals.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert json.loads(petals.output)["rows"] == 150
    assert unknown.message == "Method 'nope' not found"
    assert unknown.error.details[0].TypeName() == "google.rpc.ErrorInfo"
    assert (unfit.new_status, unfit.exit_code) == (types_pb2.JOB_STATUS_FAILED, 78)
    counts = answer.statistics
    assert (counts.total_jobs, counts.completed_jobs, counts.failed_jobs) == (3, 1, 1)
    assert counts.failed_submissions == 1
    assert counts.final


def test_asking_again_finds_what_completed_and_resubmits_what_failed(grpcurl: Grpcurl) -> None:
    grpcurl.upload()
    grpcurl.finished()
    out = grpcurl("dshpc.v1.JobService/SimulateJobs", sent=json.dumps({"jobs": JOBS}))
    petals, unknown, unfit = json_format.Parse(out, job_service_pb2.SimulateJobsResponse()).results
    assert petals.message == "Completed job found"
    assert unknown.outcome == types_pb2.OUTCOME_REJECTED
    assert unfit.message == "New job submitted after previous failure"
    assert unfit.old_status == types_pb2.JOB_STATUS_FAILED
    assert unfit.new_status == types_pb2.JOB_STATUS_PENDING


def test_a_stream_begins_with_the_batch_and_ends_with_statistics(grpcurl: Grpcurl) -> None:
    grpcurl.upload()
    out = grpcurl("dshpc.v1.JobService/StreamSimulateJobs", sent=json.dumps({"jobs": JOBS}))
    first, *results, last = events(out)
    assert first.accepted.total_jobs == len(JOBS)
    assert sorted(event.result.index for event in results) == [0, 1, 2]
    assert last.statistics.final
    assert last.statistics.total_jobs == len(JOBS)


def test_a_malformed_request_is_refused_with_the_field(address: str) -> None:
    command = [component.path("grpcurl"), "-plaintext", "-d", '{"jobs": []}', address]
    done = subprocess.run(
        [*command, "dshpc.v1.JobService/SimulateJobs"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert "InvalidArgument" in done.stderr
    assert "jobs" in done.stderr
