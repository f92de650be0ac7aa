"""A place in a batch file has a line and a column, as far as it can be found."""

import pytest

from dshpc.cli import places

TEXT = """\
display_name: x
jobs:
  - method: m
    parameters:
      a.b: {c: [1, 2]}
      a: 3
  - methodName: m
    inputs:
      x: {fileHash: h}
odd key: 1
"""


@pytest.mark.parametrize(
    ("place", "position"),
    [
        ("display_name", "1:1"),
        ("jobs", "2:1"),
        ("jobs[0]", "3:5"),
        ("jobs[0].parameters", "4:5"),
        ("jobs[0].parameters.a.b.c[1]", "5:20"),
        ("jobs[0].parameters.a", "6:7"),
        ("jobs[1].method", "7:5"),
        ("jobs[1].inputs.x.file_hash", "9:11"),
        ("odd key", "10:1"),
        # What is missing is where it would be:
        ("jobs[0].timeout", "3:5"),
        ("jobs[7]", "2:1"),
        ("jobs[1].inputs.y.file_hash", "8:5"),
        ("options.cache", "1:1"),
        ("", ""),
    ],
)
def test_a_place_is_found_or_what_is_around_it(place: str, position: str) -> None:
    assert places.position(TEXT, place) == position


@pytest.mark.parametrize("text", ["{", "", "\x00"])
def test_a_text_that_is_no_tree_has_no_positions(text: str) -> None:
    assert places.position(text, "jobs") == ""


def test_json_has_lines_too() -> None:
    text = '{\n "jobs": [\n  {"method": 7}\n ]\n}'

    assert places.position(text, "jobs[0].method") == "3:4"


def test_a_document_that_contains_itself_is_walked_once() -> None:
    assert places.position("a: &x {b: *x}", "a.b.b.b.c") == "1:8"
