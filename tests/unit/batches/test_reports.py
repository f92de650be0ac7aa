"""What a fact means: also for an attempt that was to be stopped."""

import pathlib

import pytest

from dshpc_server.batches import intake, reports
from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine import port as engine
from dshpc_server.files import content
from dshpc_server.store import port
from dshpc_server.transport import encoder
from support import store_values

KEY = AttemptKey(job_id=store_values.sha("job"), number=1)
LIMIT = 8


@pytest.fixture
def making(tmp_path: pathlib.Path) -> reports.Reports:
    return reports.Reports(
        intake=intake.Intake(content.ContentStore(tmp_path / "files"), inline_output_bytes=LIMIT),
        encoder=encoder.MultiJobResultEncoder(),
        folder=lambda _: tmp_path,
    )


def news(fact: engine.Fact, cancel_reason: str | None = None) -> reports.News:
    claim = port.Claim(
        key=KEY,
        spec=store_values.spec("job"),
        resources=Resources(),
        timeout_seconds=60.0,
        created_at=store_values.NOON,
        revision=2,
    )
    return reports.News(fact=fact, claim=claim, cancel_reason=cancel_reason)


def exited(folder: pathlib.Path, *, stdout: bytes, cause: engine.Cause) -> engine.Exited:
    (folder / "stdout").write_bytes(stdout)
    return engine.Exited(
        key=KEY,
        at=store_values.NOON,
        started_at=store_values.NOON,
        engine_job_id="1",
        node="here",
        exit_code=0 if cause is engine.Cause.NONE else None,
        signal=None if cause is engine.Cause.NONE else 9,
        cause=cause,
        stdout=folder / "stdout",
        stderr=folder / "stderr",
    )


UNRUN = [
    engine.NotStarted(key=KEY, at=store_values.NOON, reason="no such command"),
    engine.Lost(key=KEY, at=store_values.NOON, reason="the node is gone"),
]


@pytest.mark.parametrize("fact", UNRUN)
@pytest.mark.parametrize(
    ("cancel_reason", "told"), [("", "Cancelled"), ("enough", "Cancelled: enough")]
)
def test_what_was_to_be_stopped_and_does_not_run_is_cancelled(
    making: reports.Reports, fact: engine.Fact, cancel_reason: str, told: str
) -> None:
    report = making.of(news(fact, cancel_reason))
    assert report.event is Event.CANCELLED
    assert report.ending is not None
    assert report.ending.reason == told


@pytest.mark.parametrize(
    ("fact", "event"), list(zip(UNRUN, [Event.NOT_STARTED, Event.LOST], strict=True))
)
def test_what_nobody_stopped_keeps_its_own_word(
    making: reports.Reports, fact: engine.NotStarted | engine.Lost, event: Event
) -> None:
    report = making.of(news(fact))
    assert report.event is event
    assert report.ending is not None
    assert report.ending.reason == fact.reason


def test_a_stop_is_told_with_its_reason(making: reports.Reports, tmp_path: pathlib.Path) -> None:
    fact = exited(tmp_path, stdout=b"half", cause=engine.Cause.CANCELLED)
    report = making.of(news(fact, "enough"))
    assert report.event is Event.CANCELLED
    assert report.ending is not None
    assert report.ending.reason == "Cancelled: enough"
    assert not report.ending.output_is_inline


def test_an_exit_that_came_before_the_stop_is_what_counts(
    making: reports.Reports, tmp_path: pathlib.Path
) -> None:
    fact = exited(tmp_path, stdout=b"done", cause=engine.Cause.NONE)
    report = making.of(news(fact, "too late"))
    assert report.event is Event.SUCCEEDED
    assert report.ending is not None
    assert report.ending.reason == ""


@pytest.mark.parametrize(
    ("stdout", "is_inline"),
    [(b"", True), (b"x" * LIMIT, True), (b"x" * (LIMIT + 1), False), (b"\xff", False)],
)
def test_an_ending_says_whether_it_holds_the_whole_output(
    making: reports.Reports, tmp_path: pathlib.Path, stdout: bytes, *, is_inline: bool
) -> None:
    report = making.of(news(exited(tmp_path, stdout=stdout, cause=engine.Cause.NONE)))
    assert report.ending is not None
    assert report.ending.output_is_inline is is_inline
    assert report.ending.output_size_bytes == len(stdout)
