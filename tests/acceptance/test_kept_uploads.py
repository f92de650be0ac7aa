"""What is kept of uploads: when a client stalls, when the server ends, and for how long."""

import os
import pathlib
import signal

import grpc
import pytest

from support import calls, live_server, site, uploads
from support.uploads import CHUNK_BYTES


def test_a_client_that_sends_nothing_is_let_go_and_what_came_is_kept(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    content = uploads.content_of("stalled")
    settings = live_server.settings(tmp_path, methods_dir, upload_stall_seconds=1.0)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        service = calls.Service(channel)
        with uploads.held(service, content, 3) as upload:
            refused = calls.refusal(upload.call.result)
        assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.text == f"the client has sent only {3 * CHUNK_BYTES} bytes for 1 s"
        assert uploads.committed(service, upload.file_hash) == 3 * CHUNK_BYTES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_came_of_an_upload_survives_a_restart_of_the_server(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, number: signal.Signals
) -> None:
    content = uploads.content_of("restart")
    with live_server.as_process(tmp_path, methods_dir, stop_grace_seconds=0.2) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            with uploads.held(service, content, 4) as upload:
                first.stop(number)
                refused = calls.refusal(upload.call.result)
                assert refused.code == grpc.StatusCode.UNAVAILABLE
        left = first.data_dir / "files" / "incoming" / "left"
        left.write_bytes(b"by nobody")
        with (
            live_server.as_process(tmp_path, methods_dir) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            assert not left.exists()
            assert uploads.committed(service, upload.file_hash) == 4 * CHUNK_BYTES
            uploads.send(service, content, 4 * CHUNK_BYTES)
            assert service.download(upload.file_hash) == content
            assert list(left.parent.iterdir()) == []


def test_what_is_kept_too_long_is_removed_at_the_start(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    incoming = tmp_path / "data" / "files" / "incoming"
    incoming.mkdir(parents=True)
    old, new = incoming / site.hash_of(b"old"), incoming / site.hash_of(b"new")
    for path in (old, new):
        path.write_bytes(b"kept")
    written_at = old.stat().st_mtime - 1_000
    os.utime(old, (written_at, written_at))
    settings = live_server.settings(tmp_path, methods_dir, upload_expiry_seconds=500.0)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        live_server.wait_for(lambda: not old.exists(), "the old one to be removed")
        assert uploads.committed(calls.Service(channel), new.name) == len(b"kept")
