"""docs/architecture.md leads to the code: every file it names is there, and none is left out."""

import re

import pytest

from support import documents

PAGE = documents.text("docs/architecture.md")
SERVER = documents.ROOT / "server/dshpc_server"
WHERE = PAGE[PAGE.index("## Where to look") : PAGE.index("## A batch, step by step")]

CLIENT = PAGE[PAGE.index("## The client and the command") :]

NO_MODULES = {("store", "accept")}
"""What the page names alike, and is a method of the port."""


def named() -> set[str]:
    """The files and folders that the table leads to."""
    return set(re.findall(r"`((?:[\w-]+/)*(?:[\w-]+\.py|[\w-]+/))`", WHERE))


def test_every_file_that_is_named_is_there() -> None:
    assert {name for name in named() if not (SERVER / name).exists()} == set()
    assert len(named()) > 60


def test_every_file_of_the_client_and_the_command_that_is_named_is_there() -> None:
    found = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", CLIENT)
    folder = documents.ROOT / "client_stubs/dshpc"
    assert {name for name in found if not (folder / name).exists()} == set()
    assert len(found) > 20


@pytest.mark.parametrize("room", ["batches", "domain", "engine/slurm", "files", "transport"])
def test_every_file_of_a_room_is_named(room: str) -> None:
    files = {str(file.relative_to(SERVER)) for file in (SERVER / room).rglob("*.py")}
    assert {file for file in files if not file.endswith("__init__.py")} - named() == set()


def test_every_room_is_in_the_table_of_rooms() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE[: PAGE.index("## Where to look")], re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    rooms = {path.stem for path in SERVER.iterdir() if path.suffix in ("", ".py")} - {"__pycache__"}
    # What every room may use stands in no order.
    assert rooms - {"__init__", "clock", "errors"} == told


def test_words_like_batches_dispatcher_are_modules() -> None:
    for room, module in re.findall(r"`(transport|batches|store|methods|domain)\.(\w+)`", PAGE):
        is_there = (SERVER / room / f"{module}.py").exists()
        assert is_there or (room, module) in NO_MODULES, f"{room}.{module}"
