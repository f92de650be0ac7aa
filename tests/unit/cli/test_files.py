"""`dshpc files list|show|delete`."""

import pathlib

import pytest

from support.dshpc_command import Command
from support.fake_service import FakeService

NAMES = ("a.csv", "b.csv", "c.csv")


@pytest.fixture
def hashes(dshpc: Command, service: FakeService, tmp_path: pathlib.Path) -> list[str]:
    """Three files of the names above that the server has."""
    for name in NAMES:
        (tmp_path / name).write_text(name)
    assert dshpc("files", "upload", *(tmp_path / name for name in NAMES)) == 0
    return list(service.stored)


def test_files_are_listed_with_hashes_that_can_be_copied(
    dshpc: Command, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dshpc("files", "list") == 0
    heading, *rows = dshpc.out.splitlines()
    assert heading.split() == ["hash", "size", "stored", "last", "used", "name"]
    assert [row.split() for row in rows] == [
        [file_hash, "5", "B", name] for file_hash, name in zip(hashes, NAMES, strict=True)
    ]

    assert dshpc("files", "list", "-o", "json", "--limit", "2") == 0
    assert [line["fileHash"] for line in dshpc.lines()] == hashes[:2]
    assert dshpc.err == "the newest 2 files; --limit shows more\n"

    monkeypatch.setenv("COLUMNS", "70")
    assert dshpc("files", "list") == 0
    assert dshpc.out.splitlines()[::2] == hashes


def test_an_empty_list_says_so_beside_the_results(dshpc: Command) -> None:
    assert dshpc("files", "list") == 0
    assert (dshpc.out, dshpc.err) == ("", "no files\n")
    assert dshpc("files", "list", "--output", "json") == 0
    assert (dshpc.out, dshpc.err) == ("", "")


def test_a_file_is_shown(dshpc: Command, hashes: list[str]) -> None:
    assert dshpc("files", "show", hashes[0].upper()) == 0
    pairs = dict(line.split(maxsplit=1) for line in dshpc.out.splitlines())
    assert pairs == {"hash": hashes[0], "size": "5 B (5 bytes)", "name": "a.csv"}

    assert dshpc("files", "show", hashes[0], "-o", "json") == 0
    assert dshpc.lines() == [{"fileHash": hashes[0], "sizeBytes": "5", "filename": "a.csv"}]
    assert dshpc("files", "show", "0" * 64) == 1
    assert dshpc.err == f"dshpc: file '{'0' * 64}' not found\n"


def test_files_are_removed_and_told(
    dshpc: Command, service: FakeService, hashes: list[str]
) -> None:
    assert dshpc("files", "delete", hashes[0], hashes[1], hashes[0]) == 0

    assert list(service.stored) == hashes[2:]
    assert [row.split() for row in dshpc.out.splitlines()[1:]] == [
        [hashes[0], "5", "B", "removed", "a.csv"],
        [hashes[1], "5", "B", "removed", "b.csv"],
    ]
    assert dshpc("files", "delete", hashes[2], "--output", "json") == 0
    assert [(line["fileHash"], line["removed"]) for line in dshpc.lines()] == [(hashes[2], True)]


def test_a_file_that_is_needed_or_not_known_does_not_keep_the_others(
    dshpc: Command, service: FakeService, hashes: list[str]
) -> None:
    service.needed.add(hashes[0])

    assert dshpc("files", "delete", hashes[0], "0" * 64, hashes[1]) == 1

    assert list(service.stored) == [hashes[0], hashes[2]]
    assert dshpc.err.splitlines() == [
        f"dshpc: {hashes[0]}: an unfinished job needs the file",
        f"dshpc: {'0' * 64}: file '{'0' * 64}' not found",
    ]
    assert len(dshpc.out.splitlines()) == 2


@pytest.mark.parametrize("command", [["show"], ["delete", "a" * 64], ["download"]])
def test_what_is_no_hash_is_refused_before_anything_is_asked(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path, command: list[str]
) -> None:
    words = [*command, "abc", *([str(tmp_path)] if command == ["download"] else [])]

    assert dshpc("files", *words) == 2

    assert dshpc.err == (
        "dshpc: 'abc' is a part of a file hash, and all 64 digits are needed: "
        "'dshpc files list' shows them\n"
    )
    assert not service.asked
