"""Log lines: one format for people and one for machines, and neither tells what jobs are about."""

import json
from collections.abc import Iterator

import pytest
import structlog

from dshpc_server import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
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
