"""A server is reached from its own machine alone, unless somebody has allowed more."""

import json
import pathlib
import socket
import subprocess
import sys

import grpc
import pytest

from dshpc.v1 import server_service_pb2
from support import calls, live_server, site

# Loopback in truth, so that this test opens nothing; by its name the server cannot know.
BEYOND = "[::ffff:127.0.0.1]:0"
EXIT_CONFIG = 78


def has_ipv6() -> bool:
    """Whether this machine has the IPv6 loopback address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6, at least on loopback")


def test_listening_beyond_loopback_ends_with_a_sentence_that_says_why(
    tmp_path: pathlib.Path,
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dshpc_server", "serve", "--listen=0.0.0.0:0"),
            *(f"--data-dir={tmp_path}/data", f"--methods-dir={tmp_path}"),
        ],
        capture_output=True,
        text=True,
        timeout=live_server.START_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (EXIT_CONFIG, "")
    (sentence,) = done.stderr.splitlines()
    for told in ("0.0.0.0:0", "no login", "no encryption", "every method", "every file"):
        assert told in sentence
    assert "--allow-remote" in sentence
    assert not (tmp_path / "data").exists()


@needs_ipv6
def test_with_leave_it_serves_and_warns(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSHPC_ALLOW_REMOTE", "true")
    methods_dir = site.write(tmp_path)
    with live_server.as_process(tmp_path, methods_dir, listen=BEYOND) as server:
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            asked = server_service_pb2.GetServerInfoRequest()
            assert service.server.GetServerInfo(asked, timeout=30).version
        (warning,) = [
            line
            for line in map(json.loads, server.log.read_text().splitlines())
            if line["event"] == "serving.remote"
        ]
    assert warning["level"] == "warning"
    assert "no login" in warning["why"]


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:0", "127.0.0.2:0", "localhost:0", pytest.param("[::1]:0", marks=needs_ipv6)],
)
def test_on_loopback_it_serves_without_a_warning(tmp_path: pathlib.Path, listen: str) -> None:
    methods_dir = site.write(tmp_path)
    with live_server.as_process(tmp_path, methods_dir, listen=listen) as server:
        with grpc.insecure_channel(server.address) as channel:
            asked = server_service_pb2.GetServerInfoRequest()
            assert calls.Service(channel).server.GetServerInfo(asked, timeout=30).version
        assert "serving.remote" not in server.log.read_text()
