"""The example data are small, complete and documented."""

import csv
import pathlib
import re

import pytest

from support import examples_runs as examples

LARGEST_BYTES = 300_000
FILES = sorted(path for path in examples.DATA.rglob("*") if path.is_file())
TABLES = sorted(examples.DATA.glob("*.csv"))
README = (examples.DATA / "README.md").read_text()


def test_every_file_is_under_the_limit_and_listed() -> None:
    for path in FILES:
        assert path.stat().st_size < LARGEST_BYTES
        if path.name != "README.md":
            assert f"`{path.relative_to(examples.DATA)}`" in README


def test_every_file_that_is_listed_is_there() -> None:
    for name in re.findall(r"^\| `([^`]+)` \|", README, flags=re.MULTILINE):
        assert (examples.DATA / name).is_file()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_table_has_the_rows_and_columns_that_are_documented(path: pathlib.Path) -> None:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert f"| `{path.name}` | {len(rows)} x {len(header)} |" in README
    assert {len(row) for row in rows} == {len(header)}
    assert len(set(header)) == len(header)
