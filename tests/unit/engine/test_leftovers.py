"""What is left of an attempt: who is frozen, who is killed, and when nothing is left any more."""

import itertools
import pathlib
import time
from collections.abc import Iterable

import pytest

from dshpc_server.engine.local import census, facts, ledger, leftovers, processes, records, wire

NAME = "a.1"


class Machine:
    """A process table that the test tells, look by look; the last look stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: pathlib.Path) -> None:
        self.frozen: list[int] = []
        self.killed: list[int] = []
        self._workspace = f"{folder}/workspace"
        self._looks: Iterable[census.Look] = itertools.repeat(self.look())
        monkeypatch.setattr(census.Census, "look", lambda *_: next(iter(self._looks)))
        for name, signalled in (("freeze", self.frozen), ("kill", self.killed)):
            monkeypatch.setattr(
                processes, name, lambda them, to=signalled: to.extend(one.pid for one in them)
            )

    def look(
        self, *pids: int, parents: dict[int, int] | None = None, is_whole: bool = True
    ) -> census.Look:
        """These bear the mark; those with a parent among them do not."""
        hidden = parents or {}
        table = {pid: processes.Process(pid, hidden.get(pid, 1), 1, 5) for pid in (*pids, *hidden)}
        marks = {
            pid: processes.Mark(None if pid in hidden else self._workspace, is_hidden=False)
            for pid in table
        }
        return census.Look(table=table, marks=marks, is_whole=is_whole)

    def shows(self, *looks: census.Look) -> None:
        self._looks = itertools.chain(looks[:-1], itertools.repeat(looks[-1]))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_a_family_is_frozen_until_nobody_is_new_and_killed_then(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    grown = machine.look(7, parents={8: 7, 9: 8})
    machine.shows(machine.look(7), grown, grown, machine.look())
    _told_of(tmp_path)
    assert sorted(machine.frozen) == [7, 7, 8, 9]
    assert sorted(machine.killed) == [7, 8, 9]


def test_a_family_that_grows_for_ever_is_killed_all_the_same(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    book, left = _accounting(tmp_path)
    for number in range(5):
        machine.shows(machine.look(10 + number))
        left.tick(1e9 + number)
    assert machine.killed == [11, 12, 13, 14]
    assert not book.take_news()


def test_an_orphan_that_shows_no_mark_is_waited_for_until_it_is_gone(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    whole = machine.look(7, parents={8: 7})
    # Its parent died first; the kill has reached it and it is not gone yet.
    orphan = machine.look(parents={8: 1})
    machine.shows(whole, whole, orphan, machine.look())
    assert _told_of(tmp_path)["reason"].endswith("no exit is on record")
    assert machine.killed.count(8) == 2


def test_looks_that_something_may_have_slipped_through_are_believed_after_a_second(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    machine.shows(machine.look(is_whole=False))
    book, left = _accounting(tmp_path)
    left.tick(1e9)
    left.tick(1e9 + 0.9)
    assert not book.take_news()
    left.tick(1e9 + 1.0)
    assert [fact["fact"] for fact in book.take_news()] == ["lost"]


def test_what_was_never_started_has_its_end_on_record_and_is_not_new_any_more(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    machine.shows(machine.look())
    folder = tmp_path / "attempts" / "a" / "1"
    book, left = _accounting(folder)
    left.tick(1e9)
    (told,) = book.take_news()
    assert (told["fact"], told["reason"]) == ("lost", "it was never started")
    assert not records.is_new(str(folder))
    assert records.read_exit(str(folder), NAME) == told


def test_two_who_ask_for_the_same_attempt_are_told_the_same_whenever_they_ask(
    machine: Machine, tmp_path: pathlib.Path
) -> None:
    machine.shows(machine.look(7), machine.look(7), machine.look())
    (tmp_path / "stdout").touch()
    book, left = _accounting(tmp_path)
    left.take(NAME, str(tmp_path))
    first = _end_of(book, left)
    left.take(NAME, str(tmp_path))
    assert _end_of(book, left) == first == facts.lost(NAME, first["reason"]) | {"at": first["at"]}


def _accounting(folder: pathlib.Path) -> tuple[ledger.Ledger, leftovers.Leftovers]:
    book = ledger.Ledger(lambda _line: None)
    left = leftovers.Leftovers(book, lambda _line: None)
    left.take(NAME, str(folder))
    return book, left


def _told_of(folder: pathlib.Path) -> wire.Fact:
    (folder / "stdout").touch()
    return _end_of(*_accounting(folder))


def _end_of(book: ledger.Ledger, left: leftovers.Leftovers) -> wire.Fact:
    while (due_at := left.due_at()) is not None:
        left.tick(max(due_at, time.monotonic()))
    (told,) = book.take_news()
    return told
