"""Fixtures of the command's tests: a fake or a real server, the command for it, and a batch."""

import pathlib
from collections.abc import Iterator

import pytest

from support import fake_service, live_server, site
from support.dshpc_command import Command
from support.fake_service import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service.running() as service:
        yield service


@pytest.fixture
def dshpc(
    service: FakeService, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")  # which the command sets, and this test unsets
    return Command(service.target, capsys)


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server with the test methods, and `talk`, which writes while it is held."""
    folder = tmp_path_factory.mktemp("real-server")
    methods_dir = site.write(folder)
    talk = 'printf "before\\377\\n" >&2; echo out; cat -- "$(cat -- "$1")" >&2'
    site.install(methods_dir, "talk", talk)
    with live_server.as_process(folder, methods_dir, stop_grace_seconds=1) as server:
        yield server.address


@pytest.fixture
def real(
    real_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """The command against the real server; no job of the test is left running."""
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    command = Command(real_server, capsys)
    yield command
    assert command("job", "list", "--quiet", "--status", "in_progress") == 0
    if left := command.out.split():
        command("job", "cancel", *left)


@pytest.fixture
def batch(tmp_path: pathlib.Path) -> pathlib.Path:
    """A batch of three jobs over two local files."""
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "b.csv").write_text("b\n")
    path = tmp_path / "batch.yaml"
    path.write_text(
        "display_name: three jobs\n"
        "jobs:\n"
        "  - {method: count_lines, file: a.csv, config_id: first}\n"
        "matrix:\n"
        "  - {method: column_stats, files: ['*.csv'], parameters: [{bins: 5}]}\n"
    )
    return path
