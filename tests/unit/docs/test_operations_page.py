"""docs/operations.md names every rule of the check, and every repair."""

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
