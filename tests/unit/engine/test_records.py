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


def _leader() -> processes.Process:
    """A process as a method's: it leads a session."""
    return processes.table()[os.getpid()]._replace(session=os.getpid())


def _ledger() -> ledger.Ledger:
    return ledger.Ledger(lambda _line: None)


def test_an_end_takes_the_place_of_the_process_record(tmp_path: pathlib.Path) -> None:
    me = _leader()
    records.write_process(str(tmp_path), "a.1", me.pid, (me.start_time - 1, me.start_time))
    assert records.find_process(str(tmp_path), "a.1", {me.pid: me}) == me
    assert records.read_exit(str(tmp_path), "a.1") is None
    records.write_exit(str(tmp_path), _end())
    assert records.find_process(str(tmp_path), "a.1", {me.pid: me}) is None
    assert records.read_exit(str(tmp_path), "a.1") == _end() | {"at": _at(tmp_path)}
    assert [entry.name for entry in tmp_path.iterdir()] == ["exit.json"]


@pytest.mark.parametrize("off", [-2, 1])
def test_a_process_with_the_pid_of_the_attempt_but_another_start_is_not_found(
    tmp_path: pathlib.Path, off: int
) -> None:
    me = _leader()
    other = me._replace(start_time=me.start_time + off)
    records.write_process(str(tmp_path), "a.1", me.pid, (me.start_time - 1, me.start_time))
    assert records.find_process(str(tmp_path), "a.1", {me.pid: other}) is None


def test_a_shorter_end_leaves_nothing_of_a_longer_process_record(tmp_path: pathlib.Path) -> None:
    (tmp_path / "process.json").write_text("x" * 10_000)
    records.write_exit(str(tmp_path), _end())
    assert records.read_exit(str(tmp_path), "a.1") is not None


def test_an_end_of_another_boot_does_not_count(tmp_path: pathlib.Path) -> None:
    records.write_exit(str(tmp_path), _end())
    path = tmp_path / "exit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "another"}))
    assert records.read_exit(str(tmp_path), "a.1") is None


@pytest.mark.parametrize(
    ("changed", "left_out"),
    [
        ({}, "boot_id"),
        ({}, "fact"),
        ({}, "name"),
        ({}, "at"),
        ({}, "exit_code"),
        ({}, "cause"),
        ({"boot_id": 1}, ""),
        ({"fact": "started"}, ""),
        ({"fact": ["exited"]}, ""),
        ({"name": "b.1"}, ""),
        ({"at": float("nan")}, ""),
        ({"at": 1e300}, ""),
        ({"at": True}, ""),
        ({"started_at": -1}, ""),
        ({"pid": "1"}, ""),
        ({"pid": 2**40}, ""),
        ({"exit_code": None}, ""),
        ({"exit_code": 256}, ""),
        ({"exit_code": 0.0}, ""),
        ({"signal": 9}, ""),
        ({"exit_code": None, "signal": 65}, ""),
        ({"cause": "MERCY"}, ""),
        ({"cause": []}, ""),
    ],
)
def test_an_end_with_a_field_out_of_form_or_of_another_attempt_is_unreadable(
    tmp_path: pathlib.Path, changed: dict[str, object], left_out: str
) -> None:
    whole = {
        "boot_id": processes.BOOT_ID,
        "fact": "exited",
        "name": "a.1",
        "at": 2.0,
        "started_at": 1,
        "pid": 7,
        "exit_code": 0,
        "signal": None,
        "cause": "NONE",
    }
    path = tmp_path / "exit.json"
    path.write_text(json.dumps(whole))
    assert records.read_exit(str(tmp_path), "a.1") is not None
    spoilt = whole | changed
    spoilt.pop(left_out, None)
    path.write_text(json.dumps(spoilt))
    with pytest.raises(records.UnreadableError):
        records.read_exit(str(tmp_path), "a.1")


def test_an_end_beside_the_process_record_was_not_written_by_a_runner(
    tmp_path: pathlib.Path,
) -> None:
    records.write_exit(str(tmp_path), _end())
    records.write_process(str(tmp_path), "a.1", 7, (1, 2))
    with pytest.raises(records.UnreadableError):
        records.read_exit(str(tmp_path), "a.1")


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "b.1"},
        {"pid": None},
        {"pid": [1]},
        {"pid": True},
        {"start_time": 1},
        {"start_time": {"from": 0}},
        {"start_time": {"from": 0, "to": float("inf")}},
    ],
)
def test_a_process_record_out_of_form_or_of_another_attempt_finds_nothing(
    tmp_path: pathlib.Path, changed: dict[str, object]
) -> None:
    me = _leader()
    records.write_process(str(tmp_path), "a.1", me.pid, (me.start_time, me.start_time))
    path = tmp_path / "process.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert records.find_process(str(tmp_path), "a.1", {me.pid: me, 1: me}) is None


def test_the_process_record_of_an_older_runner_has_no_name_and_counts(
    tmp_path: pathlib.Path,
) -> None:
    me = _leader()
    records.write_process(str(tmp_path), "a.1", me.pid, (me.start_time, me.start_time))
    path = tmp_path / "process.json"
    record = json.loads(path.read_text())
    del record["name"]
    path.write_text(json.dumps(record))
    assert records.find_process(str(tmp_path), "a.1", {me.pid: me}) == me


def test_a_process_that_leads_no_session_is_no_attempts_process(tmp_path: pathlib.Path) -> None:
    me = _leader()
    records.write_process(str(tmp_path), "a.1", me.pid, (me.start_time, me.start_time))
    table = {me.pid: me._replace(session=1)}
    assert records.find_process(str(tmp_path), "a.1", table) is None


@pytest.mark.parametrize("name", ["exit.json", "process.json"])
@pytest.mark.parametrize(
    "spoil",
    [
        pathlib.Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.write_text(""),
        lambda path: path.write_text('{"fact": "exi'),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text("\x00" * 40),
        lambda path: path.write_text("[" * 50_000),
        lambda path: path.write_text("{}" + " " * 100_000),
    ],
)
def test_what_a_method_put_in_the_place_of_a_record_does_not_count_and_holds_nobody_up(
    tmp_path: pathlib.Path, name: str, spoil: Callable[[pathlib.Path], object]
) -> None:
    spoil(tmp_path / name)
    assert records.find_process(str(tmp_path), "a.1", {}) is None
    if name == "exit.json":
        with pytest.raises(records.UnreadableError):
            records.read_exit(str(tmp_path), "a.1")


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE], ids=errno.errorcode.get
)
def test_a_record_that_the_disk_does_not_give_back_is_not_known_for_the_moment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    records.write_exit(str(tmp_path), _end())

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for call in ("open", "read"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, fail)
            with pytest.raises(OSError, match=os.strerror(number)):
                records.read_exit(str(tmp_path), "a.1")
    assert records.read_exit(str(tmp_path), "a.1") is not None


def test_a_way_that_is_barred_does_not_make_an_attempt_new(tmp_path: pathlib.Path) -> None:
    assert records.is_new(str(tmp_path / "none"))
    folder = tmp_path / "folder"
    folder.symlink_to(folder)
    assert not records.is_new(str(folder))
    assert records.was_started(str(folder))


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
    assert records.read_exit(str(tmp_path), "a.1") is not None
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
