"""Text in YAML or JSON becomes the JSON values that were meant, or an error with its line."""

import json

import pytest

from dshpc.cli import documents
from dshpc.cli.documents import DocumentError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -12", {"a": -12}),
        ("a: 0x1F", {"a": 31}),
        ("a: 1.5", {"a": 1.5}),
        ("a: .5", {"a": 0.5}),
        ("a: 1e-3", {"a": 0.001}),
        ("a: 1E3", {"a": 1000.0}),
        ("a: 1.0e+3", {"a": 1000.0}),
        ("a: true", {"a": True}),
        ("a: False", {"a": False}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: null", {"a": None}),
        ("a: 90s", {"a": "90s"}),
        ("a: v1.2.3", {"a": "v1.2.3"}),
        ("a: data/1.csv", {"a": "data/1.csv"}),
        ("a: '2024-01-02'", {"a": "2024-01-02"}),
        ('a: "no"', {"a": "no"}),
        ("{a: [1, two]}", {"a": [1, "two"]}),
        ("x: &x {k: 1}\na: {<<: *x, j: 2}", {"x": {"k": 1}, "a": {"k": 1, "j": 2}}),
        ("x: &x {k: 1}\na: {<<: *x, k: 2}", {"x": {"k": 1}, "a": {"k": 2}}),
        ('{"a": "\\ud83d\\ude00",\t"b": 1e5}', {"a": "😀", "b": 1e5}),
    ],
)
def test_yaml_and_json_are_read(text: str, value: object) -> None:
    found = documents.load(text, is_json=False)

    assert found == value
    assert json.dumps(found) == json.dumps(value)  # 1 and True are equal in Python


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2024-01-02", "2:4: 2024-01-02 is a date"),
        ("a: 2024-01-02T10:00:00Z", "1:4: 2024-01-02T10:00:00Z is a date"),
        ("a: [yes]", "1:5: yes is read differently"),
        ("a: NO", "1:4: NO is read differently"),
        ("a: 012", "1:4: 012 is read differently"),
        ("a: 0o17", "1:4: 0o17 is read differently"),
        ("a: 1_000", "1:4: 1_000 is read differently"),
        ("a: 12:30", "1:4: 12:30 is read differently"),
        ("a: 1\nb: 2\na: 3", "3:1: key 'a' is given twice"),
        ("2024: 1", "1:1: a key must be text"),
        ("on: 1", "1:1: a key must be text"),
        ("? [a]\n: 1", "1:3: a key must be text"),
        ("a: [1, b: }", "1:11: "),
        ("a: \tb: c", "1:"),
        ("a: !!python/object:os.system {}", "1:4: could not determine a constructor"),
        ("a: 1\n---\nb: 2", "2:1: but found another document"),
        ("a: \x00", "not allowed"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("a: " + "9" * 5000, "digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(DocumentError) as caught:
        documents.load(text, is_json=False)

    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_file_is_told_where_its_json_is_wrong() -> None:
    with pytest.raises(DocumentError, match=r"^2:7: "):
        documents.load('{"a": 1,\n "b": oops}', is_json=True)
