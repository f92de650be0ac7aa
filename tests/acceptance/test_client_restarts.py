"""The client over a server that goes away and comes back: nothing is lost.

The server is a process of its own; its next one has the same data and listens at the same address.
"""

import json
import pathlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import BinaryIO

import pytest

from dshpc.client import Client, files
from dshpc.v1 import types_pb2
from support import calls, documents_symptoms, live_server, site

SECONDS = 60.0
SPEAKING = 'echo before >&2; cat -- "$(cat -- "$1")"; echo after >&2'
MIB = 1 << 20


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    site.install(tmp_path / "methods", "speak", SPEAKING)
    site.install(tmp_path / "methods", "echo", 'cat -- "$1"')
    return tmp_path / "methods"


def test_a_log_and_a_watch_go_on_over_a_restart(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir) as first, Client(first.address) as client:
        config = calls.config("speak", client.upload_bytes(gate.content))
        (row,) = client.run([config]).results
        log = client.log(row.job_id, follow=True)
        watch = client.watch(row.job_id)
        heard = next(part.data for part in log if part.data)
        next(watch)

        first.stop(signal.SIGKILL)
        with (
            live_server.as_process(tmp_path, methods_dir, listen=first.address),
            futures.ThreadPoolExecutor(max_workers=2) as threads,
        ):
            rest = threads.submit(lambda: [part.data for part in log])
            seen = threads.submit(lambda: [job.status for job in watch])
            gate.open()

            assert heard + b"".join(rest.result(SECONDS)) == b"before\nafter\n"
            assert seen.result(SECONDS)[-1] == types_pb2.JOB_STATUS_COMPLETED


def test_a_batch_is_told_whole_and_once_over_a_restart(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gates = [site.Gate(tmp_path / name) for name in ("first", "second")]
    with live_server.as_process(tmp_path, methods_dir) as first, Client(first.address) as client:
        held = [client.upload_bytes(gate.content) for gate in gates]
        at_once = client.upload_bytes(str(tmp_path).encode())
        configs = [calls.config("speak", file_hash) for file_hash in held]
        batch = client.run_each([calls.config("echo", at_once), *configs])
        assert next(batch).index == 0

        first.stop(signal.SIGKILL)
        with (
            live_server.as_process(tmp_path, methods_dir, listen=first.address),
            futures.ThreadPoolExecutor(max_workers=1) as threads,
        ):
            rest = threads.submit(lambda: [(row.index, row.attempt) for row in batch])
            for gate in gates:
                gate.open()

            assert sorted(rest.result(SECONDS)) == [(1, 1), (2, 1)]
            assert batch.statistics is not None
            assert batch.statistics.completed_jobs == 3
            assert [found.batch_id for found in client.batches()] == [batch.batch_id]


def test_a_run_of_the_command_goes_on_over_a_restart(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    (tmp_path / "held").write_bytes(gate.content)
    batch = tmp_path / "batch.yaml"
    batch.write_text("jobs: [{method: speak, file: held}]")
    with (
        live_server.as_process(tmp_path, methods_dir) as first,
        subprocess.Popen(
            documents_symptoms.dshpc(first.address, "run", str(batch), "--output", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stderr is not None
        while not running.stderr.readline().startswith("batch "):
            assert running.poll() is None

        first.stop(signal.SIGKILL)
        with live_server.as_process(tmp_path, methods_dir, listen=first.address):
            gate.open()
            out, err = running.communicate(timeout=SECONDS)

    assert running.returncode == 0, err
    row, last = (json.loads(line) for line in out.splitlines())
    assert (row["index"], row["attempt"]) == (0, 1)
    assert last["statistics"]["completedJobs"] == 1
    assert "; going on in " not in err.splitlines()[-1]
    assert any("; going on in " in line for line in err.splitlines())


def test_an_upload_goes_on_over_a_restart(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * (16 * MIB // 256)
    (tmp_path / "large").write_bytes(content)
    halfway, go_on = threading.Event(), threading.Event()

    def slowly(file: BinaryIO) -> Iterator[bytes]:
        for number, piece in enumerate(iter(lambda: file.read(MIB), b"")):
            if number == 8:
                halfway.set()
                assert go_on.wait(SECONDS)
            yield piece

    with live_server.as_process(tmp_path, methods_dir) as first, Client(first.address) as client:
        local = files.read(tmp_path / "large")
        monkeypatch.setattr(files, "read", lambda _: local)
        monkeypatch.setattr(files, "pieces", slowly)
        with futures.ThreadPoolExecutor(max_workers=1) as threads:
            upload = threads.submit(client.upload, tmp_path / "large")
            try:
                assert halfway.wait(SECONDS)
                first.stop(signal.SIGKILL)
                with live_server.as_process(tmp_path, methods_dir, listen=first.address):
                    go_on.set()
                    assert upload.result(SECONDS) == site.hash_of(content)
                    assert client.file(local.file_hash).size_bytes == len(content)
            finally:
                go_on.set()
