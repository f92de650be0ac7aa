"""docs/operations.md names every rule of the check, every repair, and what the log warns of."""

import ast
import contextlib
import pathlib
import re

import pytest

from dshpc_server.checking import repair
from dshpc_server.store.inspection import Rule
from support import documents
from support.checked_site import Site

PAGE = documents.text("docs/operations.md")


@pytest.fixture
def rules(tmp_path: pathlib.Path) -> dict[str, Rule]:
    """Every rule; those of the tables, which have the names of their constraints, left out."""
    made = Site(tmp_path)
    with contextlib.closing(made.open()) as store:
        found = made.check(store).rules()
    return {name: rule for name, rule in found.items() if not name.startswith(("ck_", "fk_"))}


def listed(heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_rule_is_listed_as_what_it_is(rules: dict[str, Rule]) -> None:
    assert listed("rule | it says") == {name for name, rule in rules.items() if not rule.is_note}
    assert listed("note | it says") == {name for name, rule in rules.items() if rule.is_note}


def test_every_repair_is_listed(tmp_path: pathlib.Path) -> None:
    with contextlib.closing(Site(tmp_path).open()) as store:
        made = repair.Repair(store, tmp_path, without_output=bytes, lives=lambda _: False)
    assert listed("rule | repair") == made.rules


def warned_of() -> set[str]:
    """The events that the server's code logs as a warning or worse, or as an outage."""
    found = set()
    for path in (documents.ROOT / "server/dshpc_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            told = [each.value for each in node.keywords if each.arg in {"begins", "ends"}]
            if ast.unparse(node.func) in {"_log.warning", "_log.error", "_log.exception"}:
                told += node.args[:1]
            found |= {
                each.value
                for each in told
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
    return found


def test_what_the_log_warns_of_is_listed() -> None:
    told = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", PAGE.partition("## What to watch")[2]))
    assert warned_of() - told == set()


def test_every_event_that_is_listed_is_logged() -> None:
    section = PAGE.partition("## What to watch")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", section))
    files = (documents.ROOT / "server/dshpc_server").rglob("*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert len(told) >= 20
    assert {event for event in told if f'"{event}"' not in code} == set()
