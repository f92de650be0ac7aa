"""Taking in what an attempt left: its bytes and nothing else, whatever the method did to them."""

import errno
import hashlib
import io
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server import errors
from dshpc_server.batches import intake
from dshpc_server.files import content

LIMIT = 64


@pytest.fixture
def kept(tmp_path: pathlib.Path) -> content.ContentStore:
    return content.ContentStore(tmp_path / "files")


@pytest.fixture
def taking(kept: content.ContentStore) -> intake.Intake:
    return intake.Intake(kept, inline_output_bytes=LIMIT)


@pytest.fixture
def stdout(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "attempt"
    folder.mkdir()
    return folder / "stdout"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"done\n", b"x" * LIMIT, "é".encode() * (LIMIT // 2), b"\0"])
def test_a_short_text_stands_in_its_row_and_on_no_disk(
    taking: intake.Intake, kept: content.ContentStore, stdout: pathlib.Path, data: bytes
) -> None:
    stdout.write_bytes(data)
    assert not taking.is_long(stdout)
    output = taking.output(stdout)
    assert output.text == data.decode()
    assert (output.output_hash, output.size_bytes) == (sha(data), len(data))
    assert kept.find(sha(data)) is None


@pytest.mark.parametrize(
    "data", [b"x" * (LIMIT + 1), b"x" * LIMIT + b"\xff", "é".encode() * LIMIT, b"\xff" * 5000]
)
def test_a_long_output_is_in_the_content_store_and_stays_where_it_was(
    taking: intake.Intake, kept: content.ContentStore, stdout: pathlib.Path, data: bytes
) -> None:
    stdout.write_bytes(data)
    assert taking.is_long(stdout)
    output = taking.output(stdout)
    assert output.text is None
    assert (output.output_hash, output.size_bytes) == (sha(data), len(data))
    found = kept.find(sha(data))
    assert found is not None
    assert found.read_bytes() == stdout.read_bytes() == data
    assert taking.output(stdout) == output


@pytest.mark.parametrize("data", [b"\xff", b"text\xe2\x82", b"\xed\xa0\x80"])
def test_what_is_no_text_is_kept_as_bytes_however_short(
    taking: intake.Intake, kept: content.ContentStore, stdout: pathlib.Path, data: bytes
) -> None:
    stdout.write_bytes(data)
    output = taking.output(stdout)
    assert (output.text, output.size_bytes) == (None, len(data))
    found = kept.find(sha(data))
    assert found is not None
    assert found.read_bytes() == data


def make_link(path: pathlib.Path) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(b"not the method's to show" * 10)
    path.symlink_to(secret)


def make_dangling_link(path: pathlib.Path) -> None:
    path.symlink_to(path.with_name("absent"))


def make_fifo(path: pathlib.Path) -> None:
    os.mkfifo(path)


def make_folder(path: pathlib.Path) -> None:
    path.mkdir()


def make_nothing(path: pathlib.Path) -> None:
    assert not path.exists()


TAMPERED = [make_link, make_dangling_link, make_fifo, make_folder, make_nothing]


@pytest.mark.parametrize("tamper", TAMPERED)
def test_what_is_no_regular_file_is_not_an_output(
    taking: intake.Intake,
    kept: content.ContentStore,
    stdout: pathlib.Path,
    tamper: Callable[[pathlib.Path], None],
) -> None:
    tamper(stdout)
    with pytest.raises(intake.UnreadableOutputError):
        taking.output(stdout)
    assert list(kept.walk()) == []


@pytest.mark.parametrize("tamper", TAMPERED)
def test_what_is_no_regular_file_is_not_a_log(
    taking: intake.Intake, stdout: pathlib.Path, tamper: Callable[[pathlib.Path], None]
) -> None:
    tamper(stdout)
    assert taking.stderr_tail(stdout) == ""


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, errors.NoRoomError),
        (errno.EDQUOT, errors.NoRoomError),
        (errno.EIO, errors.NoRoomError),
        (errno.EROFS, errors.NoRoomError),
        (errno.EACCES, errors.UnavailableError),
    ],
)
@pytest.mark.parametrize("data", [b"\xff", b"x" * 5000])
def test_what_the_disk_does_not_take_waits_where_it_was(
    taking: intake.Intake,
    stdout: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[errors.DshpcError],
    data: bytes,
) -> None:
    stdout.write_bytes(data)

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(errors.UnavailableError) as raised:
            taking.output(stdout)
    assert type(raised.value) is error
    assert str(stdout) not in str(raised.value)
    assert stdout.read_bytes() == data
    assert taking.output(stdout).output_hash == sha(data)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize("size", [10, 5000])
@pytest.mark.parametrize("name", ["open", "read"])
def test_an_output_that_the_disk_does_not_give_back_is_lost_and_that_is_told_without_a_path(
    taking: intake.Intake,
    stdout: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: int,
    number: int,
) -> None:
    stdout.write_bytes(b"x" * size)
    if name == "read" and size == 10:
        monkeypatch.setattr(os, "fdopen", _unreadable(number))

    def fail(*_: object, **_options: object) -> int:
        raise OSError(number, os.strerror(number), str(stdout))

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fail)
        with pytest.raises(intake.UnreadableOutputError) as raised:
            taking.output(stdout)
    assert str(raised.value) == f"the output could not be read: {os.strerror(number)}"


def _unreadable(number: int) -> Callable[[int, str], io.BytesIO]:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(number, os.strerror(number), str(size))

    def fdopen(descriptor: int, _mode: str) -> io.BytesIO:
        os.close(descriptor)
        return Unreadable()

    return fdopen


def test_a_stop_ends_taking_a_long_output_in_between_two_pieces(
    taking: intake.Intake,
    kept: content.ContentStore,
    stdout: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"x" * (4 << 20)
    stdout.write_bytes(data)
    read, pieces = os.read, []

    def stop_while_reading(descriptor: int, size: int) -> bytes:
        pieces.append(size)
        taking.stop()
        return read(descriptor, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", stop_while_reading)
        with pytest.raises(errors.UnavailableError, match="stopping"):
            taking.output(stdout)
    assert len(pieces) == 1
    with pytest.raises(errors.UnavailableError, match="stopping"):
        taking.output(stdout)
    assert stdout.read_bytes() == data
    assert list(kept.walk()) == []
    again = intake.Intake(kept, inline_output_bytes=LIMIT)
    assert again.output(stdout).size_bytes == len(data)


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT]
)
def test_a_shortage_of_the_machine_is_not_the_methods_failure(
    taking: intake.Intake, stdout: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    stdout.write_bytes(b"done")

    def short(*_: object, **_options: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", short)
        with pytest.raises(errors.UnavailableError):
            taking.output(stdout)
    assert taking.output(stdout).text == "done"


def test_the_log_is_told_whole_when_it_is_short(
    taking: intake.Intake, stdout: pathlib.Path
) -> None:
    stdout.write_bytes("warning: é\n".encode())
    assert taking.stderr_tail(stdout) == "warning: é\n"


def test_a_log_that_a_bad_disk_does_not_give_back_takes_nothing_else_with_it(
    taking: intake.Intake, stdout: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bad(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "bad sector", str(size))

    def fdopen(descriptor: int, mode: str) -> Bad:
        assert mode == "rb"
        os.close(descriptor)
        return Bad()

    stdout.write_bytes(b"the log")
    assert taking.stderr_tail(stdout) == "the log"
    monkeypatch.setattr(os, "fdopen", fdopen)
    assert taking.stderr_tail(stdout) == ""


def test_the_end_of_a_long_log_is_told(taking: intake.Intake, stdout: pathlib.Path) -> None:
    stdout.write_bytes(b"".join(b"line %06d\n" % number for number in range(5000)))
    tail = taking.stderr_tail(stdout)
    assert len(tail) == 4096
    assert tail.endswith("line 004998\nline 004999\n")


def test_a_character_that_the_cut_goes_through_is_replaced(
    taking: intake.Intake, stdout: pathlib.Path
) -> None:
    stdout.write_bytes("€".encode() * 2000)  # 6000 bytes, and 4096 is no multiple of 3
    tail = taking.stderr_tail(stdout)
    assert tail == "\N{REPLACEMENT CHARACTER}" + "€" * 1365
    tail.encode()


def test_a_log_that_is_no_text_is_told_as_text(taking: intake.Intake, stdout: pathlib.Path) -> None:
    stdout.write_bytes(b"before \0 \xff after")
    assert taking.stderr_tail(stdout) == "before \ufffd \ufffd after"
