"""What an attempt's folder says about it: records of other boots and torn ones do not count."""

import errno
import json
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.engine.local import facts, ledger, processes, records, wire


def _end(name: str = "a.1") -> wire.Fact:
    return facts.lost(name, "why")


def _ledger() -> ledger.Ledger:
    return ledger.Ledger(lambda _line: None)


def test_an_end_takes_the_place_of_the_process_record(tmp_path: pathlib.Path) -> None:
    me = processes.table()[os.getpid()]
    records.write_process(str(tmp_path), me.pid, (me.start_time - 1, me.start_time))
    assert records.find_process(str(tmp_path), {me.pid: me}) == me
    assert records.read_exit(str(tmp_path)) is None
    records.write_exit(str(tmp_path), _end())
    assert records.find_process(str(tmp_path), {me.pid: me}) is None
    assert records.read_exit(str(tmp_path)) == _end() | {"at": _at(tmp_path)}
    assert [entry.name for entry in tmp_path.iterdir()] == ["exit.json"]


@pytest.mark.parametrize("off", [-2, 1])
def test_a_process_with_the_pid_of_the_attempt_but_another_start_is_not_found(
    tmp_path: pathlib.Path, off: int
) -> None:
    me = processes.table()[os.getpid()]
    other = me._replace(start_time=me.start_time + off)
    records.write_process(str(tmp_path), me.pid, (me.start_time - 1, me.start_time))
    assert records.find_process(str(tmp_path), {me.pid: other}) is None


def test_a_shorter_end_leaves_nothing_of_a_longer_process_record(tmp_path: pathlib.Path) -> None:
    (tmp_path / "process.json").write_text("x" * 10_000)
    records.write_exit(str(tmp_path), _end())
    assert records.read_exit(str(tmp_path)) is not None


def test_an_end_of_another_boot_does_not_count(tmp_path: pathlib.Path) -> None:
    records.write_exit(str(tmp_path), _end())
    path = tmp_path / "exit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "another"}))
    assert records.read_exit(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", '{"fact": "exi', "[]", "\x00" * 40])
def test_a_torn_end_does_not_count(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "exit.json").write_text(text)
    assert records.read_exit(str(tmp_path)) is None


@pytest.mark.parametrize("name", ["exit.json", "process.json"])
@pytest.mark.parametrize(
    "spoil",
    [
        pathlib.Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.write_text("[" * 50_000),
        lambda path: path.write_text("x" * 100_000),
    ],
)
def test_what_a_method_put_in_the_place_of_a_record_does_not_count_and_holds_nobody_up(
    tmp_path: pathlib.Path, name: str, spoil: Callable[[pathlib.Path], object]
) -> None:
    spoil(tmp_path / name)
    assert records.read_exit(str(tmp_path)) is None
    assert records.find_process(str(tmp_path), {}) is None


@pytest.mark.parametrize(
    "spoil", [pathlib.Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")]
)
def test_an_end_is_not_written_to_what_a_method_put_there(
    tmp_path: pathlib.Path, spoil: Callable[[pathlib.Path], object]
) -> None:
    spoil(tmp_path / "process.json")
    with pytest.raises(OSError, match=r"process\.json"):
        records.write_exit(str(tmp_path), _end())


def test_a_folder_is_made_once(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path / "deep" / "attempt")
    assert not records.was_started(folder)
    records.make_ended_folder(folder, '{"k":1}')
    assert records.was_started(folder)
    with pytest.raises(FileExistsError):
        records.make_folder(folder, "{}")


def test_an_end_waits_for_room_on_the_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = _ledger()

    def no_room(_folder: str, _end: wire.Fact) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as full:
        full.setattr(records, "write_exit", no_room)
        book.record(str(tmp_path), _end())
    assert book.take_news() == []
    assert book.is_waiting_for("a.1")
    due_at = book.due_at()
    assert due_at is not None
    book.retry(due_at - 0.5)
    assert book.take_news() == []
    book.retry(due_at)
    assert [fact["name"] for fact in book.take_news()] == ["a.1"]
    assert records.read_exit(str(tmp_path)) is not None
    assert book.due_at() is None


def test_an_exit_whose_folder_is_gone_is_told_as_lost(tmp_path: pathlib.Path) -> None:
    book = _ledger()
    end: wire.Fact = {"fact": "exited", "name": "a.1", "at": 1.0, "exit_code": 0}
    book.record(str(tmp_path / "gone"), end)
    (told,) = book.take_news()
    assert (told["fact"], told["reason"]) == ("lost", "its exit could not be recorded")


def _at(folder: pathlib.Path) -> float:
    at = json.loads((folder / "exit.json").read_text())["at"]
    assert isinstance(at, float)
    return at
