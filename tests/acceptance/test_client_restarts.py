"""The client over a server that goes away and comes back: nothing is lost.

The server is a process of its own; its next one has the same data and listens at the same address.
"""

import pathlib
import signal
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import BinaryIO

import pytest

from dshpc.client import Client, files
from dshpc.v1 import types_pb2
from support import calls, live_server, site

SECONDS = 60.0
SPEAKING = 'echo before >&2; cat -- "$(cat -- "$1")"; echo after >&2'
MIB = 1 << 20


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    site.install(tmp_path / "methods", "speak", SPEAKING)
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
