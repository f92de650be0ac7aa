"""Records and messages of any content: none ends a runner or a server, or another attempt."""

import contextlib
import itertools
import json
import pathlib
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies

from dshpc_server.domain.job import AttemptKey, Usage
from dshpc_server.engine import port
from dshpc_server.engine.local import (
    census,
    contract,
    facts,
    ledger,
    leftovers,
    processes,
    records,
    wire,
)
from dshpc_server.engine.local.engine import LocalEngine

KEY = AttemptKey(job_id="a" * 64, number=1)
NAME = contract.name_of(KEY)
OTHER = contract.name_of(AttemptKey(job_id="b" * 64, number=1))
EXITED: wire.Fact = {
    "fact": "exited",
    "name": NAME,
    "at": 2.5,
    "started_at": 1.5,
    "pid": 7,
    "exit_code": 0,
    "signal": None,
    "cause": "NONE",
}
PROCESS = {"pid": 7, "start_time": {"from": 1, "to": 2}}
NUMBERS = (
    strategies.integers() | strategies.floats() | strategies.sampled_from([10**400, -1, 2**63])
)
SCALARS = strategies.none() | strategies.booleans() | NUMBERS | strategies.text()
ANYTHING = strategies.recursive(
    SCALARS,
    lambda below: strategies.lists(below) | strategies.dictionaries(strategies.text(), below),
    max_leaves=8,
)
WHOLE = strategies.sampled_from(
    [
        EXITED,
        EXITED | {"exit_code": None, "signal": 9},
        facts.lost(NAME, "why"),
        EXITED | {"cpu_seconds": 0.25, "peak_memory_bytes": 2**20},
        facts.cancelled_unstarted(NAME),
        {"fact": "started", "name": NAME, "at": 1.5, "pid": 7},
        PROCESS,
    ]
)


@strategies.composite
def documents(draw: strategies.DrawFn) -> object:
    """Anything, or something that is nearly in form."""
    if draw(strategies.booleans()):
        return draw(ANYTHING)
    record = {"boot_id": processes.BOOT_ID, **draw(WHOLE)}
    names = strategies.sampled_from(sorted(record))
    for name in draw(strategies.lists(names, max_size=2)):
        record[name] = draw(ANYTHING | strategies.sampled_from([OTHER, "lost", "exited"]))
    for name in draw(strategies.lists(names, max_size=1)):
        del record[name]
    return record


def contents() -> strategies.SearchStrategy[bytes]:
    """What a method may have written in the place of a record."""
    return strategies.binary() | documents().map(lambda value: json.dumps(value).encode())


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census.Census, "look", lambda _, __: _look({}, ""))


@contextlib.contextmanager
def attempt_folder() -> Iterator[pathlib.Path]:
    """A folder as an attempt that was started has it."""
    with tempfile.TemporaryDirectory() as name:
        (pathlib.Path(name) / "stdout").touch()
        yield pathlib.Path(name)


@hypothesis.given(process=strategies.none() | contents(), end=contents())
def test_an_attempt_with_any_records_is_told_once_by_its_own_name(
    process: bytes | None, end: bytes
) -> None:
    book = ledger.Ledger(lambda _line: None)
    left = leftovers.Leftovers(book, lambda _line: None)
    with attempt_folder() as folder:
        (folder / "exit.json").write_bytes(end)
        if process is not None:
            (folder / "process.json").write_bytes(process)
        left.take(NAME, str(folder))
        left.tick(0.0)
        assert left.due_at() is None
        (told,) = book.take_news()
        assert told["name"] == NAME
        assert wire.is_end(told)
        fact = contract.fact_of(told, KEY, folder, "node")
        assert isinstance(fact, port.Exited | port.NotStarted | port.Lost)
        if isinstance(fact, port.Exited):
            assert process is None
            assert (fact.exit_code is None) != (fact.signal is None)
            assert fact.usage.cpu_seconds is None or 0 <= fact.usage.cpu_seconds < 1e12
            assert fact.usage.peak_memory_bytes is None or fact.usage.peak_memory_bytes >= 0
        # What is told is on record now, and stays so.
        assert records.read_exit(str(folder), NAME) == told


@hypothesis.given(content=contents())
def test_a_process_record_of_any_content_finds_the_process_or_nothing(content: bytes) -> None:
    table = {pid: processes.Process(pid, 1, pid, 1) for pid in (1, 7)}
    with attempt_folder() as folder:
        (folder / "process.json").write_bytes(content)
        found = records.find_process(str(folder), NAME, table)
    assert found is None or found in table.values()


@hypothesis.given(told=strategies.lists(documents()))
async def test_a_server_that_is_told_anything_goes_on(told: list[object]) -> None:
    # As it comes over the wire, where a NaN and a number of any size may stand.
    news = json.loads(json.dumps(told))
    engine = LocalEngine(
        pathlib.Path("/none"), capacity=port.Capacity(cpus=1, memory_bytes=1, gpus=0)
    )
    await engine.recover([(KEY, pathlib.Path("/none/attempt"))])
    engine._take(news)
    assert all(fact.key == KEY for _, fact in engine._delivery.waiting)
    engine._take([EXITED])
    ends = [fact for _, fact in engine._delivery.waiting if not isinstance(fact, port.Started)]
    assert len(ends) == 1


@hypothesis.given(documents())
def test_a_message_is_an_order_a_hello_or_a_fact_or_none_of_them(value: object) -> None:
    if isinstance(value, dict):
        assert wire.is_order(value) in (True, False)
    assert wire.is_hello(value) in (True, False)
    if wire.is_fact(value):
        assert contract.fact_of(value, KEY, pathlib.Path("/f"), "node").key == KEY


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({**EXITED, "boot_id": processes.BOOT_ID}, "exited"),
        ({**EXITED, "boot_id": "another"}, "no exit is on record"),
        ({"boot_id": processes.BOOT_ID}, "its exit record is unreadable"),
        ({**EXITED, "name": OTHER, "boot_id": processes.BOOT_ID}, "its exit record is unreadable"),
        (None, "no exit is on record"),
    ],
)
def test_why_an_attempt_is_lost_is_told(
    tmp_path: pathlib.Path, end: dict[str, object] | None, told: str
) -> None:
    (tmp_path / "stdout").touch()
    if end is not None:
        (tmp_path / "exit.json").write_text(json.dumps(end))
    fact = _accounted(tmp_path)
    assert told in (fact["fact"], fact.get("reason", "").removeprefix(_DIED))


def test_an_end_of_something_that_still_ran_is_not_true(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.write_exit(str(tmp_path), EXITED)
    seven = {7: processes.Process(7, 1, 7, 1)}
    seen = itertools.chain([seven, seven], itertools.repeat({}))
    killed: list[processes.Process] = []
    frozen: list[processes.Process] = []
    workspace = f"{tmp_path}/workspace"
    monkeypatch.setattr(census.Census, "look", lambda _, __: _look(next(seen), workspace))
    monkeypatch.setattr(processes, "kill", killed.extend)
    monkeypatch.setattr(processes, "freeze", frozen.extend)
    fact = _accounted(tmp_path)
    assert [process.pid for process in frozen] == [7]
    assert [process.pid for process in killed] == [7]
    assert fact["fact"] == "lost"
    assert "it still ran" in fact["reason"]


def test_what_cannot_be_read_for_the_moment_waits_and_holds_nobody_up(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{name}.1" for name in "abc"]
    for name in names:
        (tmp_path / name).mkdir()
        records.write_exit(str(tmp_path / name), EXITED | {"name": name})
    book = ledger.Ledger(lambda _line: None)
    log: list[str] = []
    left = leftovers.Leftovers(book, log.append)
    for name in names:
        left.take(name, str(tmp_path / name))
    read = records.read_exit

    def fails_for_one(folder: str, name: str) -> wire.Fact | None:
        if name == "b.1":
            raise OSError(24, "too many open files")
        return read(folder, name)

    with monkeypatch.context() as short:
        short.setattr(records, "read_exit", fails_for_one)
        left.tick(0.0)
    assert [fact["name"] for fact in book.take_news()] == ["a.1", "c.1"]
    assert log == ["event=no_exit_read attempt=b.1 errno=24"]
    due_at = left.due_at()
    assert due_at is not None
    left.tick(due_at)
    assert [fact["name"] for fact in book.take_news()] == ["b.1"]


def test_the_causes_of_the_wire_are_those_of_the_port() -> None:
    of_schedulers = {port.Cause.PREEMPTED, port.Cause.PAST_DEADLINE}
    assert {str(cause) for cause in set(port.Cause) - of_schedulers} == wire.CAUSES


@pytest.mark.parametrize(
    "told",
    [
        {"cpu_seconds": -0.5},
        {"cpu_seconds": "1"},
        {"cpu_seconds": True},
        {"cpu_seconds": float("nan")},
        {"cpu_seconds": float("inf")},
        {"cpu_seconds": 10**400},
        {"peak_memory_bytes": -1},
        {"peak_memory_bytes": 1.5},
        {"peak_memory_bytes": True},
        {"peak_memory_bytes": [1]},
        {"peak_memory_bytes": 2**63},
    ],
)
def test_an_end_that_tells_what_nobody_can_have_used_is_none(
    tmp_path: pathlib.Path, told: dict[str, object]
) -> None:
    assert not wire.is_fact(EXITED | told)
    (tmp_path / "stdout").touch()
    record = EXITED | told | {"boot_id": processes.BOOT_ID}
    (tmp_path / "exit.json").write_text(json.dumps(record))
    assert _accounted(tmp_path)["fact"] == "lost"


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({}, Usage()),
        ({"cpu_seconds": None, "peak_memory_bytes": None}, Usage()),
        ({"cpu_seconds": 0.25}, Usage(cpu_seconds=0.25)),
        ({"peak_memory_bytes": 7, "cpu_seconds": 3}, Usage(cpu_seconds=3, peak_memory_bytes=7)),
    ],
)
def test_what_was_used_is_told_as_far_as_the_runner_does(
    told: dict[str, float | None], usage: Usage
) -> None:
    fact: object = EXITED | told
    assert wire.is_fact(fact)
    exited = contract.fact_of(fact, KEY, pathlib.Path("/f"), "node")
    assert isinstance(exited, port.Exited)
    assert exited.usage == usage


_DIED = "the runner that watched it died, and "


def _look(table: dict[int, processes.Process], workspace: str) -> census.Look:
    """A whole look at these processes, all of one attempt."""
    mark = processes.Mark(workspace, is_hidden=False)
    return census.Look(table=table, marks=dict.fromkeys(table, mark), is_whole=True)


def _accounted(folder: pathlib.Path) -> wire.Fact:
    """What a new runner tells of the attempt in this folder."""
    book = ledger.Ledger(lambda _line: None)
    left = leftovers.Leftovers(book, lambda _line: None)
    left.take(NAME, str(folder))
    while (due_at := left.due_at()) is not None:
        left.tick(due_at)
    (told,) = book.take_news()
    return told
