"""Fixtures of the command's tests: a fake server, the command that talks to it, and a batch."""

import pathlib
from collections.abc import Iterator

import pytest

from support import fake_service
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
