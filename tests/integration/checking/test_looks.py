"""How a check looks: page by page, a second time at what looks wrong, and how it tells of it."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence

import pytest

from dshpc_server.checking import findings, looks, repair, telling
from dshpc_server.checking.findings import Finding
from dshpc_server.store.inspection import Rule, StoreCounts

WRONG = Rule(name="it_is_right", broken="it is wrong")
WORTH_A_NOTE = Rule(name="it_is_tidy", broken="it is not", is_note=True)


class Scripted:
    """A look at things whose faults change between one look and the next."""

    rules: Mapping[str, Rule] = looks.by_name(WRONG)

    def __init__(self, *faults: dict[str, list[str]], pages: Sequence[Sequence[str]]) -> None:
        self._faults = list(faults)
        self._pages = pages
        self.examined: list[list[str]] = []

    def pages(self) -> Iterator[Sequence[str]]:
        yield from self._pages

    def examine(self, names: Sequence[str]) -> Sequence[looks.Found]:
        self.examined.append(list(names))
        faults = self._faults.pop(0)
        return [(name, wrong(fault)) for name in names for fault in faults.get(name, ())]


def wrong(name: str, rule: Rule = WRONG) -> Finding:
    return Finding(rule=rule, which=(("thing", name),))


def test_what_is_right_at_the_second_look_or_wrong_in_another_way_is_not_told() -> None:
    first = {"a": ["is late"], "b": ["is torn"], "c": ["is 1 byte"]}
    second = {"b": ["is torn"], "c": ["is 2 bytes"]}
    look = Scripted(first, second, pages=[["a", "b", "c", "d"]])
    waited: list[int] = []
    found = list(looks.confirmed(look, lambda: waited.append(len(look.examined))))
    assert found == [wrong("is torn")]
    assert look.examined == [["a", "b", "c", "d"], ["a", "b", "c"]]
    assert waited == [1], "once, between the two"


def test_where_nothing_looks_wrong_nobody_waits() -> None:
    look = Scripted({}, {}, pages=[["a"], ["b"]])

    def wait() -> None:
        raise AssertionError("nothing is to be looked at again")

    assert list(looks.confirmed(look, wait)) == []


def test_many_that_look_wrong_are_looked_at_again_together_and_not_all_at_once() -> None:
    pages = [[f"{page}-{n}" for n in range(500)] for page in range(3)]
    every = {name: ["is torn"] for page in pages for name in page}
    look = Scripted(*[every] * 5, pages=pages)
    assert len(list(looks.confirmed(look, lambda: None))) == 1500
    assert [len(names) for names in look.examined] == [500, 500, 1000, 500, 500]


def test_pages_go_on_after_the_last_name() -> None:
    names = ["a", "b", "c", "d", "e"]

    def ask(after: str, limit: int) -> Sequence[str]:
        return [name for name in names if name > after][:limit]

    assert list(looks.pages(ask, 2)) == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("name", ["a\nproblem: b", "a\x1b[2J", "\udcff", ""])
def test_a_name_that_is_no_plain_text_stays_on_its_line(name: str) -> None:
    line = wrong(name).line()
    assert line == f"it_is_right: it is wrong: thing {name!a}"
    assert len(line.splitlines()) == 1
    out = io.StringIO()
    telling.Telling(out, io.StringIO(), "json").finding(wrong(name), None)
    out.getvalue().encode()
    assert len(out.getvalue().splitlines()) == 1


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def told(format: telling.Format) -> str:  # noqa: A002 - the flag's own name
    out = io.StringIO()
    told = telling.Telling(out, io.StringIO(), format)
    counts = findings.Counts()
    counts.store(StoreCounts(jobs=1, attempts=2, batches=3, rows=4))
    for finding, outcome in (
        (wrong("a"), repair.Outcome(is_repaired=True, what="mended")),
        (wrong("b"), repair.Outcome(is_repaired=False, what="it is stuck")),
        (wrong("c", WORTH_A_NOTE), None),
    ):
        counts.found(finding)
        if outcome is not None and outcome.is_repaired:
            counts.repaired(finding)
        told.finding(finding, outcome)
    told.done("something else", {"node": "n"})
    told.counts(counts)
    return out.getvalue()


def test_findings_are_lines_with_what_became_of_them() -> None:
    assert told("text").splitlines() == [
        "it_is_right: it is wrong: thing a",
        "  repaired: mended",
        "it_is_right: it is wrong: thing b",
        "  left: it is stuck",
        "note: it_is_tidy: it is not: thing c",
        "something else",
        (
            "checked: 1 jobs, 2 attempts, 3 batches, 4 rows, 0 files, 0 bytes hashed, 1 notes, "
            "2 problems, 1 repaired, 1 problems left"
        ),
    ]


def test_findings_are_json_documents_for_programs() -> None:
    documents = [json.loads(line) for line in told("json").splitlines()]
    problem = {"kind": "problem", "rule": "it_is_right", "what": "it is wrong"}
    assert documents[:3] == [
        problem | {"which": {"thing": "a"}, "repaired": True, "repair": "mended"},
        problem | {"which": {"thing": "b"}, "repaired": False, "repair": "it is stuck"},
        {"kind": "note", "rule": "it_is_tidy", "what": "it is not", "which": {"thing": "c"}},
    ]
    assert documents[3] == {"kind": "done", "node": "n"}
    assert documents[4] == {
        "kind": "counts",
        "jobs": 1,
        "attempts": 2,
        "batches": 3,
        "rows": 4,
        "files": 0,
        "bytes_hashed": 0,
        "notes": 1,
        "problems": 2,
        "repaired": 1,
        "problems_left": 1,
    }


def test_on_a_terminal_it_is_shown_how_far_a_check_has_come_and_nowhere_else() -> None:
    moments = iter([0.0, 0.1, 1.0, 1.1])
    out, err = io.StringIO(), Terminal()
    shown = telling.Telling(out, err, "text", monotonic=lambda: next(moments))
    counts = findings.Counts(shown.progress)
    counts.hashed(10)
    assert err.getvalue() == "", "too soon"
    counts.hashed(10)
    assert err.getvalue().endswith("20 bytes hashed, 0 notes, 0 problems")
    shown.finding(wrong("a"), None)
    assert err.getvalue().endswith("\r\x1b[K"), "room for the line"
    quiet = io.StringIO()
    findings.Counts(telling.Telling(out, quiet, "text").progress).hashed(10)
    assert quiet.getvalue() == ""
