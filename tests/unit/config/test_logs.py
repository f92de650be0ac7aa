"""Log lines: one format for people and one for machines, and neither tells what jobs are about."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest
import structlog

from dshpc_server import logs


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, level = structlog.get_config(), logging.root.level
    for owner, name in (
        (logging.root, "handlers"),
        (threading, "excepthook"),
        (sys, "excepthook"),
        (warnings, "showwarning"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own are not to be closed
    yield
    logging.captureWarnings(capture=False)
    logging.root.setLevel(level)
    structlog.configure(**before)


def fail(parameters: str) -> None:
    raise ValueError(f"{len(parameters)} characters")


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_is_logged_with_its_place_and_without_local_variables(
    capsys: pytest.CaptureFixture[str], form: logs.Format
) -> None:
    logs.configure(level="info", format=form)
    log = structlog.get_logger("of this test")
    try:
        fail("canary-" + "value")
    except ValueError:
        log.exception("rpc.bug")
    told = capsys.readouterr().err
    assert "rpc.bug" in told
    assert "in fail" in told
    assert "ValueError: 12 characters" in told
    assert "canary-value" not in told


def test_json_is_one_object_a_line_and_lower_levels_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(level="warning", format="auto")
    log = structlog.get_logger("of this test")
    log.info("methods.loaded", methods=3)
    log.warning("result.waits", reason="disk")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["reason"]) == ("result.waits", "warning", "disk")
    assert list(told) == ["timestamp", "level", "event", "reason"], "as people read it"


def test_what_libraries_say_is_such_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", format="json")
    library = logging.getLogger("some.library")
    library.info("small talk")
    library.warning("it is %s,\n  perhaps", "late")
    try:
        fail("canary-" + "value")
    except ValueError:
        library.exception("it failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("it is old", DeprecationWarning, stacklevel=1)
    late, failed, old = map(json.loads, capsys.readouterr().err.splitlines())
    assert (late["event"], late["level"], late["library"], late["said"]) == (
        *("library.said", "warning"),
        *("some.library", "it is late, perhaps"),
    )
    assert failed["level"] == "error"
    assert "ValueError: 12 characters" in failed["exception"]
    assert "canary-value" not in failed["exception"]
    assert "it is old" in old["said"]


def test_what_nobody_has_caught_is_such_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", format="json")
    thread = threading.Thread(target=fail, args=("canary-value",), name="a worker")
    thread.start()
    thread.join()
    try:
        fail("canary-" + "value")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    of_thread, of_end = map(json.loads, capsys.readouterr().err.splitlines())
    assert (of_thread["event"], of_thread["thread"]) == ("thread.died", "a worker")
    assert (of_end["event"], of_end["level"]) == ("server.died", "critical")
    for told in (of_thread, of_end):
        assert "in fail" in told["exception"]
        assert "canary-value" not in told["exception"]


def test_an_interruption_is_no_failure_to_tell_of(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", format="json")
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err.splitlines() == ["KeyboardInterrupt"]


def test_a_line_is_one_write_so_that_servers_can_share_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []

    class Stderr(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Stderr())
    logs.configure(level="info", format="json")
    structlog.get_logger("of this test").info("methods.loaded", methods=3)
    (line,) = written
    assert line.endswith("}\n")
