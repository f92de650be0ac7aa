"""docs/incidents.md names tests that exist, and the crash points that there are."""

import ast
import re

from dshpc_server import crashing
from support import documents

PAGE = documents.text("docs/incidents.md")
ROWS = re.findall(r"^\| ([^|`]+) \| ([^|`]+) \| `([^`|]+)` \|$", PAGE, re.MULTILINE)
POINTS = re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|$", PAGE, re.MULTILINE)


def functions_of(path: str) -> set[str]:
    """The names of the functions in a file, methods too."""
    tree = ast.parse(documents.text(path))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_every_incident_names_a_test_that_exists() -> None:
    named = [test.partition("::") for _, _, test in ROWS]
    absent = [f"{path}::{name}" for path, _, name in named if name not in functions_of(path)]
    assert absent == []


def test_every_row_of_the_tables_is_an_incident_or_a_crash_point() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    heads = {"| symptom | cause | test |", "| point | what is true then |"}
    assert len([line for line in lines if line not in heads]) == len(ROWS) + len(POINTS)
    assert len(ROWS) >= 30


def test_every_fault_test_stands_for_an_incident() -> None:
    named = {test.partition("::")[0] for _, _, test in ROWS}
    faults = documents.ROOT / "tests/faults"
    files = {f"tests/faults/{path.name}" for path in faults.glob("test_*")}
    assert files <= named


def test_the_crash_points_are_those_of_the_code() -> None:
    assert dict(POINTS) == crashing.POINTS
