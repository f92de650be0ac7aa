"""docs/client.md: every Python block is run, in order, against a real server."""

import pathlib
import re
import shutil
from collections.abc import Iterator

import pytest

from dshpc.client import errors
from support import documents, live_server

PAGE = "docs/client.md"
ADDRESS = "127.0.0.1:50051"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the example methods."""
    folder = tmp_path_factory.mktemp("server")
    with live_server.as_process(folder, documents.ROOT / "examples/methods") as server:
        yield server.address  # a process of its own: the page has a loop of its own


def test_every_block_runs(
    address: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(documents.ROOT / "examples/data", tmp_path / "examples/data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    printed = []
    for number, block in enumerate(documents.blocks(PAGE, "python"), start=1):
        code = compile(block.replace(ADDRESS, address), f"{PAGE}, block {number}", "exec")
        exec(code, names)
        printed.append(capsys.readouterr().out)

    told = "\n".join(printed)
    assert len(printed) > 10
    assert "JOB_STATUS_COMPLETED" in told
    assert "2 completed" in told
    assert "OUTCOME_REJECTED" in told
    assert f"['{'0' * 64}']" in told
    assert "StatusCode.NOT_FOUND" in told
    assert "jobs " in told  # the field of the violation
    assert (tmp_path / "flower-threshold.pgm").read_bytes().startswith(b"P")


def test_the_table_of_errors_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z_, ]+) \|", documents.text(PAGE), re.MULTILINE)
    told = {code: error for error, codes in rows for code in codes.split(", ")}
    assert told == {code.name: kind.__name__ for code, kind in errors._ERRORS.items()}


def test_every_error_is_on_the_page() -> None:
    kinds = {*errors.DshpcError.__subclasses__(), *errors.CallError.__subclasses__()}
    page = documents.text(PAGE)
    names = {kind.__name__ for kind in kinds - {errors.CallError}}
    assert {name for name in names if f"`{name}`" not in page} == set()
