"""A server's restart after SIGKILL: from the start of the process to serving, and to an answer.

    python -m benchmarks.bench_restart [--jobs 100000] [--running 200] [--rounds 3]

The store holds so many completed jobs, and so many jobs run. The floor is what any start costs,
measured in the same run: importing the server's code, and a server whose store is empty.
"""

import argparse
import contextlib
import dataclasses
import datetime
import hashlib
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import grpc

from dshpc.v1 import job_service_pb2, job_service_pb2_grpc, types_pb2
from dshpc_server.batches import encoding, reports
from dshpc_server.domain.job import AttemptKey, JobSpec, JobStatus, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Writer
from dshpc_server.store.records import Candidate, NewBatch, NewRow, Report
from dshpc_server.store.sql.store import SqlStore
from dshpc_server.transport import encoder

LIMIT_SECONDS = 3.0
"""What a restart may take."""
ROWS = 10_000
"""Jobs stored in one batch."""
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_ENCODER = encoder.MultiJobResultEncoder()
_DEADLINE_SECONDS = 300.0
_SLEEP = "exec sleep 86400"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How long a start took, from the start of the process."""

    listening_seconds: float
    answered_seconds: float
    """Until a GetJob was answered."""


def main() -> None:
    """Measure and print; exit code 1 when a restart took too long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000, help="completed jobs in the store")
    parser.add_argument("--running", type=int, default=200, help="jobs that run")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is told")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dshpc-bench-") as name:
        importing = min(_importing() for _ in range(options.rounds))
        (pathlib.Path(name) / "empty").mkdir()
        empty = _empty(pathlib.Path(name) / "empty", options.rounds)
        (pathlib.Path(name) / "full").mkdir()
        full = _full(pathlib.Path(name) / "full", options.jobs, options.running, options.rounds)
    what = f"{options.jobs:,} stored, {options.running} running"
    for label, seconds in (
        ("import of the server", importing),
        ("empty store: listening", empty.listening_seconds),
        ("empty store: first answer", empty.answered_seconds),
        (f"{what}: listening", full.listening_seconds),
        (f"{what}: first answer", full.answered_seconds),
    ):
        ratio = seconds / empty.listening_seconds
        print(f"{label:<44} {seconds:6.3f} s {ratio:6.2f} x the empty start")
    if full.answered_seconds > LIMIT_SECONDS:
        sys.exit(f"a restart took {full.answered_seconds:.2f} s; {LIMIT_SECONDS:g} s are allowed")


def _importing() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import dshpc_server.app"], check=True)
    return time.perf_counter() - start


def _empty(folder: pathlib.Path, rounds: int) -> Start:
    with _server(folder):
        pass  # makes the store, and the methods' snapshots
    return _best(folder, "0" * 64, rounds, grpc.StatusCode.NOT_FOUND)


def _full(folder: pathlib.Path, jobs: int, running: int, rounds: int) -> Start:
    (folder / "data").mkdir()
    with contextlib.closing(SqlStore.open(folder / "data" / "dshpc.sqlite")) as store:
        for number, first in enumerate(range(0, jobs, ROWS)):
            _complete(store, number, range(first, min(jobs, first + ROWS)))
    job_ids = _run(folder, running)
    try:
        return _best(folder, job_ids[0], rounds, grpc.StatusCode.OK)
    finally:
        _cancel(folder, job_ids)


def _best(folder: pathlib.Path, job_id: str, rounds: int, code: grpc.StatusCode) -> Start:
    starts = [_start(folder, job_id, code) for _ in range(rounds)]
    return min(starts, key=lambda start: start.answered_seconds)


def _start(folder: pathlib.Path, job_id: str, code: grpc.StatusCode) -> Start:
    """Start a server, ask for a job, and kill the server."""
    start = time.perf_counter()
    with _server(folder) as stub:
        listening = time.perf_counter() - start
        got = _code(lambda: stub.GetJob(job_service_pb2.GetJobRequest(job_id=job_id), timeout=60))
        answered = time.perf_counter() - start
    assert got is code, got
    return Start(listening_seconds=listening, answered_seconds=answered)


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def _run(folder: pathlib.Path, running: int) -> list[str]:
    """Have a server start so many jobs that sleep, and kill it; the jobs sleep on."""
    with _server(folder) as stub:
        request = job_service_pb2.SimulateJobsRequest()
        for row in range(running):
            request.jobs.add(method_name="sleep").parameters.update({"row": row})
        rows = stub.SimulateJobs(request, timeout=60).results
        _until_all(stub, types_pb2.JOB_STATUS_RUNNING, running)
    return [row.job_id for row in rows]


def _cancel(folder: pathlib.Path, job_ids: list[str]) -> None:
    with _server(folder) as stub:
        for job_id in job_ids:
            stub.CancelJob(job_service_pb2.CancelJobRequest(job_id=job_id), timeout=60)
        _until_all(stub, types_pb2.JOB_STATUS_CANCELLED, len(job_ids))


def _until_all(
    stub: job_service_pb2_grpc.JobServiceStub, status: types_pb2.JobStatus.ValueType, count: int
) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    asked = job_service_pb2.ListJobsRequest(statuses=[status], method_name="sleep")
    while len(stub.ListJobs(asked, timeout=60).jobs) < count:
        assert time.monotonic() < deadline, "the jobs do not get there"
        time.sleep(0.1)


@contextlib.contextmanager
def _server(folder: pathlib.Path) -> Iterator[job_service_pb2_grpc.JobServiceStub]:
    """Run a server, and kill it at the end."""
    methods_dir = folder / "methods"
    if not methods_dir.exists():
        (methods_dir / "commands").mkdir(parents=True)
        (methods_dir / "scripts" / "sleep").mkdir(parents=True)
        (methods_dir / "scripts" / "sleep" / "main.sh").write_text(_SLEEP)
        (methods_dir / "commands" / "sleep.json").write_text(
            '{"name": "sleep", "command": "sh", "script_path": "main.sh", "inputs": []}'
        )
    command = [
        *(sys.executable, "-m", "dshpc_server", "serve", "--listen=127.0.0.1:0"),
        *(f"--data-dir={folder / 'data'}", f"--methods-dir={methods_dir}", "--log-level=error"),
        *("--slots=1000", "--job-memory-bytes=1048576", "--memory-bytes=1073741824"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().removeprefix("listening on ").strip()
            with grpc.insecure_channel(address) as channel:
                yield job_service_pb2_grpc.JobServiceStub(channel)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for path in (folder / "data" / "methods").rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)


def _complete(store: SqlStore, number: int, indexes: range) -> None:
    """Store a batch of jobs that have run to their end."""
    specs = [_spec(index) for index in indexes]
    rows = [
        NewRow(
            index=index,
            head=b"h" * 300,
            candidate=Candidate(spec=spec, resources=Resources(), timeout_seconds=60.0),
            rejection=None,
        )
        for index, spec in enumerate(specs)
    ]
    batch = NewBatch(
        batch_id=f"batch-{number}", display_name="", created_at=START, rows=rows, file_hashes=()
    )
    _write(store, lambda writer: writer.accept(batch))
    _write(store, lambda writer: writer.claim(lambda _: Verdict.TAKE, len(rows)))
    _write(store, lambda writer: writer.record([_completed(spec) for spec in specs]))


def _spec(index: int) -> JobSpec:
    return JobSpec(
        job_id=hashlib.sha256(b"%d" % index).hexdigest(),
        method_name="bench",
        function_hash="f" * 64,
        inputs={"input": "0" * 64},
        parameters_json=f'{{"index":{index}}}',
    )


def _completed(spec: JobSpec) -> Report:
    key = AttemptKey(job_id=spec.job_id, number=1)
    text = f"output of {spec.job_id}\n"
    output = encoding.Output(
        output_hash=hashlib.sha256(text.encode()).hexdigest(), size_bytes=len(text), text=text
    )
    ended = encoding.EndedAttempt(
        key=key,
        status=JobStatus.COMPLETED,
        function_hash=spec.function_hash,
        created_at=START,
        started_at=START,
        ended_at=START,
        exit_code=0,
        signal=None,
        output=output,
        reason="",
        stderr_tail="",
    )
    ending = reports.ending(ended, _ENCODER)
    return Report(key=key, event=Event.SUCCEEDED, at=START, started_at=START, ending=ending)


def _write(store: SqlStore, work: Callable[[Writer], object]) -> None:
    (answer,) = store.write([work]).answers
    if isinstance(answer, Exception):
        raise answer


if __name__ == "__main__":
    main()
