"""What stands in an attempt's folder: read warily, and closed so that nothing starts any more."""

import datetime
import errno
import json
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.engine import wary
from dshpc_server.engine.slurm import records

NAME = "a" * 64 + ".1"
START = {"name": NAME, "slurm_job_id": "12_7", "node": "n1"}
EXIT = {
    **START,
    "exit_code": 3,
    "signal": None,
    "cause": "NONE",
    "reason": None,
    "cpu_milliseconds": 20,
    "peak_memory_bytes": 123,
}
AT = 1_700_000_000


def line(record: object) -> str:
    return json.dumps(record) + "\n"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """One in which an attempt has run."""
    put(tmp_path / "start", line(START), at=AT)
    put(tmp_path / "exit", line(EXIT), at=AT + 60)
    return tmp_path


def put(path: pathlib.Path, text: str | bytes, *, at: float = AT) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (at, at))


def test_an_end_is_read_with_its_moments(folder: pathlib.Path) -> None:
    at = datetime.datetime.fromtimestamp(AT, datetime.UTC)
    assert records.read_exit(str(folder), NAME) == records.ExitRecord(
        name=NAME,
        slurm_job_id="12_7",
        node="n1",
        exit_code=3,
        signal=None,
        cause="NONE",
        reason=None,
        cpu_milliseconds=20,
        peak_memory_bytes=123,
        started_at=at,
        ended_at=at + datetime.timedelta(seconds=60),
    )
    assert records.read_start(folder, NAME) == records.StartRecord(
        slurm_job_id="12_7", node="n1", at=at
    )


@pytest.mark.parametrize(
    "change",
    [
        {"exit_code": None, "signal": 9, "cause": "OVER_TIME"},
        {"cpu_milliseconds": None, "peak_memory_bytes": None},
        {"exit_code": None, "cause": "NOT_STARTED", "reason": "command not found: x"},
        {"slurm_job_id": "", "node": "", "exit_code": None, "signal": 9, "cause": "CANCELLED"},
        {"more": "than is known here"},
    ],
)
def test_each_kind_of_end_is_read(folder: pathlib.Path, change: dict[str, object]) -> None:
    put(folder / "exit", line(EXIT | change))
    end = records.read_exit(folder, NAME)
    assert end is not None
    for field in change.keys() - {"more"}:
        assert getattr(end, field) == change[field]


def test_an_end_is_never_before_its_start(folder: pathlib.Path) -> None:
    put(folder / "exit", line(EXIT), at=AT - 60)
    end = records.read_exit(folder, NAME)
    assert end is not None
    assert end.started_at == end.ended_at


def test_an_end_whose_start_was_removed_counts(folder: pathlib.Path) -> None:
    (folder / "start").unlink()
    end = records.read_exit(folder, NAME)
    assert end is not None
    assert end.started_at == end.ended_at


@pytest.mark.parametrize("text", ["", "{", line(EXIT)[:-1], line(EXIT)[:40]])
def test_what_is_not_whole_yet_is_no_end(folder: pathlib.Path, text: str) -> None:
    put(folder / "exit", text)
    assert records.read_exit(folder, NAME) is None


@pytest.mark.parametrize("where", ["nowhere", "file/below"])
def test_where_there_is_no_folder_there_is_no_record(tmp_path: pathlib.Path, where: str) -> None:
    (tmp_path / "file").touch()
    assert records.read_exit(tmp_path / where, NAME) is None
    assert records.read_start(tmp_path / where, NAME) is None
    assert records.is_new(tmp_path / where)


FORGED: list[dict[str, object]] = [
    {"name": "b" * 64 + ".1"},
    {"name": NAME[:-1] + "2"},
    {"exit_code": None},
    {"signal": 9},
    {"exit_code": 256},
    {"exit_code": -1},
    {"exit_code": True},
    {"exit_code": 3.0},
    {"exit_code": "3"},
    {"exit_code": None, "signal": 0},
    {"exit_code": None, "signal": 65},
    {"cause": "PREEMPTED"},
    {"cause": None},
    {"cause": ["NONE"]},
    {"cause": "NOT_STARTED"},
    {"cause": "NOT_STARTED", "exit_code": None},
    {"reason": 3},
    {"node": "n\n1"},
    {"node": "n" * 256},
    {"node": None},
    {"slurm_job_id": 12},
    {"slurm_job_id": "\u00fc"},
    {"cpu_milliseconds": -1},
    {"cpu_milliseconds": 1.5},
    {"peak_memory_bytes": 2**63},
]


@pytest.mark.parametrize("change", FORGED, ids=str)
def test_a_field_that_is_out_of_form_makes_it_unreadable(
    folder: pathlib.Path, change: dict[str, object]
) -> None:
    put(folder / "exit", line(EXIT | change))
    with pytest.raises(records.UnreadableError):
        records.read_exit(folder, NAME)


@pytest.mark.parametrize("field", EXIT)
def test_a_field_that_is_missing_makes_it_unreadable(folder: pathlib.Path, field: str) -> None:
    put(folder / "exit", line({name: value for name, value in EXIT.items() if name != field}))
    with pytest.raises(records.UnreadableError):
        records.read_exit(folder, NAME)


@pytest.mark.parametrize(
    "text",
    [
        b"\n",
        b"null\n",
        b"[]\n",
        b"3\n",
        b"\xff\xfe\n",
        b"{}{}\n",
        b"[" * 20_000 + b"\n",
        b'{"exit_code": ' + b"9" * 5_000 + b"}\n",
        b" " * (64 * 2**10) + line(EXIT).encode(),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_record_is_unreadable(folder: pathlib.Path, text: bytes) -> None:
    put(folder / "exit", text)
    with pytest.raises(records.UnreadableError):
        records.read_exit(folder, NAME)


def _make_sparse(path: pathlib.Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


KINDS: dict[str, Callable[[pathlib.Path], object]] = {
    "link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path),
    "fifo": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "sparse": _make_sparse,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_of_a_records_size_is_unreadable(
    folder: pathlib.Path, kind: str
) -> None:
    (folder / "exit").rename(folder / "elsewhere")
    KINDS[kind](folder / "exit")
    with pytest.raises(records.UnreadableError):
        records.read_exit(folder, NAME)


@pytest.mark.parametrize("kind", KINDS)
def test_something_in_the_place_of_a_start_says_that_it_was_started(
    folder: pathlib.Path, kind: str
) -> None:
    (folder / "start").rename(folder / "elsewhere")
    KINDS[kind](folder / "start")
    start = records.read_start(folder, NAME)
    assert start is not None
    assert (start.slurm_job_id, start.node) == ("", "")
    assert not records.close(folder, NAME)
    assert not records.write_cancelled(folder, NAME)
    assert not records.is_new(folder)


@pytest.mark.parametrize("seconds", [2.0**60, -(2.0**60), 2.0**38])
def test_a_moment_that_is_none_makes_an_end_unreadable(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(wary, "read", lambda _: (line(EXIT).encode(), seconds))
    with pytest.raises(records.UnreadableError):
        records.read_exit(folder, NAME)
    start = records.read_start(folder, NAME)
    assert start is not None
    assert start.at.year == 1970


def test_a_start_that_is_not_whole_counts_when_it_stays_so(tmp_path: pathlib.Path) -> None:
    (tmp_path / "start").touch()
    assert records.read_start(tmp_path, NAME) is None
    put(tmp_path / "start", "", at=AT)
    start = records.read_start(tmp_path, NAME)
    assert start is not None
    assert start.at == datetime.datetime.fromtimestamp(AT, datetime.UTC)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM])
def test_a_disk_that_fails_is_not_mistaken_for_a_record(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    for ask in (records.read_exit, records.read_start, records.close, records.write_cancelled):
        with pytest.raises(OSError, match=r"\[Errno") as raised:
            ask(folder, NAME)
        assert raised.value.errno == number


def test_one_that_is_closed_was_never_started_and_never_will_be(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "attempts" / "1"
    assert records.is_new(folder)
    assert records.close(folder, NAME)
    assert not records.is_new(folder)
    assert records.read_start(folder, NAME) is None
    assert records.close(folder, NAME)  # another server asks
    with pytest.raises(FileExistsError):
        (folder / "start").touch(exist_ok=False)


def test_one_that_was_started_is_not_closed(folder: pathlib.Path) -> None:
    assert not records.close(folder, NAME)
    assert not records.write_cancelled(folder, NAME)
    assert (folder / "start").read_text() == line(START)


def test_where_nothing_can_be_started_it_is_closed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    assert records.close(tmp_path / "file", NAME)
    assert records.close(tmp_path / "file" / "below", NAME)
    assert records.write_cancelled(tmp_path / "file", NAME)


def test_a_close_that_finds_no_room_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", fail)
        with pytest.raises(OSError, match="no room"):
            records.close(tmp_path, NAME)
    assert records.is_new(tmp_path)


def test_one_that_was_cancelled_before_it_was_sent_has_an_end(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "attempts" / "1"
    assert records.write_cancelled(folder, NAME)
    end = records.read_exit(folder, NAME)
    assert end is not None
    assert (end.cause, end.signal, end.exit_code) == ("CANCELLED", 9, None)
    assert (end.slurm_job_id, end.node, end.cpu_milliseconds) == ("", "", None)
    assert {path.name for path in folder.iterdir()} == {"start", "exit", "stdout", "stderr"}
    assert records.write_cancelled(folder, NAME)
    assert records.read_exit(folder, NAME) == end


def test_one_that_was_closed_may_be_told_as_cancelled(tmp_path: pathlib.Path) -> None:
    assert records.close(tmp_path, NAME)
    assert records.write_cancelled(tmp_path, NAME)
    assert records.read_exit(tmp_path, NAME) is not None
