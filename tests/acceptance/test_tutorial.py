"""docs/tutorial.md, followed to the letter: each block runs in its order, and prints what is shown.

It runs in a copy of the repository's files. Only the port is another one.
"""

import os
import pathlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator

import pytest

from support import documents, documents_terminal, live_server

PAGE = "docs/tutorial.md"
PORT = "50061"
STEPS = documents.steps(PAGE, "sh")
FAILING = {
    "column: Belt": ["1 dshpc run -"],
    "run - <<'END'\njobs:\n  - {config_id: fine": ["1 dshpc run -"],
    "sed -i 's/depends_on": ["2 dshpc run tutorial/sweep.yaml"],
    "--no-wait": ["1 dshpc run --no-wait -"],
}
"""The blocks with commands that fail, as the page says: words of the block, and which they are."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The repository's files, with the environment of these tests as `.venv`."""
    folder = tmp_path_factory.mktemp("tutorial") / "dshpc"
    for path in documents.files():
        copy = folder / path.relative_to(documents.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def runs(checkout: pathlib.Path) -> Iterator[list[documents_terminal.Ran]]:
    """Run the page's blocks, one after the other."""
    names = ("HOME", "LANG", "PATH", "TMPDIR")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    port = _free_port()
    with documents_terminal.opened(checkout, checkout.parent, environment) as terminal:
        yield [terminal.run(step.code.replace(PORT, port)) for step in STEPS]


def test_no_command_fails_but_those_that_are_to(runs: list[documents_terminal.Ran]) -> None:
    for run in runs:
        words = next((words for words in FAILING if words in run.code), None)
        expected = [] if words is None else FAILING[words]
        failed = [told.partition("\n")[0].partition(" <<")[0] for told in run.failed]
        assert failed == expected, f"{run.code}\n{run.printed}"


def test_what_the_page_shows_is_what_is_printed(runs: list[documents_terminal.Ran]) -> None:
    port = re.escape(PORT)
    for step, run in zip(STEPS, runs, strict=True):
        if step.shown is not None:
            shown = re.sub(rf":{port}$", ":…", step.shown, flags=re.MULTILINE)
            assert documents.is_shown(shown, run.printed), f"{step.code}\nprints\n{run.printed}"
        elif "methods-dir" not in step.code:
            assert run.printed == "", step.code


def test_the_page_leaves_nothing_behind(
    checkout: pathlib.Path, runs: list[documents_terminal.Ran]
) -> None:
    assert len(runs) == len(STEPS)
    assert not (checkout / "tutorial").exists()
    live_server.wait_until_gone(checkout / "tutorial")
    before = {path.relative_to(documents.ROOT) for path in documents.files()}
    after = {path.relative_to(checkout) for path in checkout.rglob("*") if path.is_file()}
    assert {path for path in after - before if path.parts[0] != ".venv"} == set()


def test_every_block_is_run_or_shown() -> None:
    assert len(STEPS) >= 20
    shown = [step.shown for step in STEPS if step.shown is not None]
    assert shown == documents.blocks(PAGE, "text")
    languages = set(re.findall(r"^```(\w+)$", documents.text(PAGE), re.MULTILINE))
    assert languages == {"sh", "text"}


def test_what_is_compared_with_the_page_can_differ() -> None:
    printed = "a  job   took 0.1 s\n\nb\nc\n"
    assert documents.is_shown("a job took … s\n…\nc\n", printed)
    assert documents.is_shown("a job took … s\nb\nc\n…\n", printed)
    assert not documents.is_shown("a job took … s\nc\n", printed)
    assert not documents.is_shown("…\nb\n", printed)
    assert not documents.is_shown("a job took … min\n…\n", printed)


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])
