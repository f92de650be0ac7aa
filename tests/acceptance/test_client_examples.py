"""examples/clients: each program runs as it stands, against a real server."""

import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support import documents, live_server

FOLDER = documents.ROOT / "examples/clients"
SECONDS = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the example methods."""
    folder = tmp_path_factory.mktemp("server")
    settings = live_server.settings(folder, documents.ROOT / "examples/methods")
    with live_server.in_thread(settings) as address:
        yield address


def run(name: str, *arguments: str) -> str:
    """Run an example; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_here() -> None:
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {"first_batch", "progress", "folder", "concurrently"}


def test_the_first_batch_answers_three_things(address: str) -> None:
    printed = run("first_batch", address)
    assert re.search(r"by species: .*\n.*setosa", printed)
    assert "tomorrow: Method 'horoscope' not found\n2 of 3" in printed
    assert "2 of 3 completed" in printed


def test_progress_tells_each_job(address: str) -> None:
    printed = run("progress", address)
    tables = list((documents.ROOT / "examples/data").glob("*.csv"))
    assert f"{len(tables)} jobs" in printed
    assert all(f"{table.name}: COMPLETED" in printed for table in tables)
    assert f"{len(tables)} completed" in printed


def test_a_folder_is_counted_and_only_what_changed_is_counted_again(
    address: str, tmp_path: pathlib.Path
) -> None:
    texts, outputs = tmp_path / "texts", tmp_path / "outputs"
    texts.mkdir()
    (texts / "one.txt").write_text("one fish two fish\n")
    (texts / "two.txt").write_text("red fish blue fish\n")

    assert "2 of 2 texts uploaded" in run("folder", str(texts), str(outputs), address)
    assert sorted(path.name for path in outputs.iterdir()) == ["one.json", "two.json"]
    assert all(json.loads(path.read_text()) for path in outputs.iterdir())

    (texts / "two.txt").write_text("black fish\n")
    printed = run("folder", str(texts), str(outputs), address)
    assert "1 of 2 texts uploaded" in printed


def test_tables_are_described_concurrently(address: str) -> None:
    printed = run("concurrently", address)
    assert len(printed.splitlines()) == 6
    assert "wine.csv: missing_values" in printed
