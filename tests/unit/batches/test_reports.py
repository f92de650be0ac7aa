"""What a fact means: also for an attempt that was to be stopped."""

import dataclasses
import pathlib

import pytest

from dshpc_server import outage
from dshpc_server.batches import intake, reports
from dshpc_server.domain import retry
from dshpc_server.domain.job import AttemptKey, Basis, Packing, Resources, Usage
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine import port as engine
from dshpc_server.files import content
from dshpc_server.store import records
from dshpc_server.transport import encoder
from support import methods_site, store_values

KEY = AttemptKey(job_id=store_values.sha("job"), number=1)
LIMIT = 8


@pytest.fixture
def making(tmp_path: pathlib.Path) -> reports.Reports:
    return reports.Reports(
        intake=intake.Intake(content.ContentStore(tmp_path / "files"), inline_output_bytes=LIMIT),
        encoder=encoder.MultiJobResultEncoder(),
        folder=lambda _: tmp_path,
        retries=retry.Retries(max_retries=3, first_seconds=8.0, last_seconds=20.0),
        chance=lambda: 0.5,
    )


def news(fact: engine.Fact, cancel_reason: str | None = None, *, number: int = 1) -> reports.News:
    """News of an attempt in the chain that the first one began."""
    claim = records.Claim(
        key=AttemptKey(job_id=KEY.job_id, number=number),
        spec=store_values.spec("job"),
        resources=Resources(),
        timeout_seconds=60.0,
        created_at=store_values.NOON,
        revision=2,
        chain=1,
    )
    return reports.News(fact=fact, claim=claim, cancel_reason=cancel_reason)


def exited(
    folder: pathlib.Path, *, stdout: bytes, cause: engine.Cause, exit_code: int = 0
) -> engine.Exited:
    (folder / "stdout").write_bytes(stdout)
    return engine.Exited(
        key=KEY,
        at=store_values.NOON,
        started_at=store_values.NOON,
        engine_job_id="1",
        node="here",
        exit_code=exit_code if cause is engine.Cause.NONE else None,
        signal=None if cause is engine.Cause.NONE else 9,
        cause=cause,
        stdout=folder / "stdout",
        stderr=folder / "stderr",
    )


def test_what_can_be_made_only_later_holds_the_others_not_up(tmp_path: pathlib.Path) -> None:
    taking_in = intake.Intake(content.ContentStore(tmp_path / "files"), inline_output_bytes=LIMIT)
    taking_in.stop()
    making = reports.Reports(
        intake=taking_in,
        encoder=encoder.MultiJobResultEncoder(),
        folder=lambda _: tmp_path,
        retries=retry.Retries(max_retries=0),
        chance=lambda: 0.5,
    )
    long = exited(tmp_path, stdout=b"x" * (LIMIT + 1), cause=engine.Cause.NONE)
    lost = engine.Lost(key=KEY, at=store_values.NOON, reason="the node is gone")
    started = engine.Started(key=KEY, at=store_values.NOON, engine_job_id="1", node="here")
    waits = outage.Outage(methods_site.HandClock(), begins="result.waits", ends="result.recorded")
    made = making.of_all([news(started), news(long), news(lost)], waits)
    assert [report.event for report in made] == [Event.STARTED, Event.LOST]


UNRUN: list[engine.Fact] = [
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


@pytest.mark.parametrize(("number", "after_seconds"), [(1, 6.0), (2, 12.0), (3, 15.0), (4, None)])
@pytest.mark.parametrize("fact", UNRUN)
def test_what_never_ran_or_was_lost_is_retried_ever_later_and_not_without_end(
    making: reports.Reports, fact: engine.Fact, number: int, after_seconds: float | None
) -> None:
    assert making.of(news(fact, number=number)).retry_after_seconds == after_seconds


@pytest.mark.parametrize(("exit_code", "after_seconds"), [(0, None), (1, None), (75, 6.0)])
def test_of_what_ended_by_itself_only_a_temporary_failure_is_retried(
    making: reports.Reports, tmp_path: pathlib.Path, exit_code: int, after_seconds: float | None
) -> None:
    fact = exited(tmp_path, stdout=b"", cause=engine.Cause.NONE, exit_code=exit_code)
    assert making.of(news(fact)).retry_after_seconds == after_seconds


def test_what_can_never_be_started_is_not_retried(making: reports.Reports) -> None:
    fact = engine.NotStarted(key=KEY, at=store_values.NOON, reason="gone", is_permanent=True)
    report = making.of(news(fact))
    assert report.event is Event.NOT_STARTED
    assert report.retry_after_seconds is None


@pytest.mark.parametrize("cancel_reason", ["", "enough"])
def test_what_was_to_be_stopped_is_not_retried(
    making: reports.Reports, tmp_path: pathlib.Path, cancel_reason: str
) -> None:
    for fact in UNRUN:
        assert making.of(news(fact, cancel_reason)).retry_after_seconds is None
    failed = exited(tmp_path, stdout=b"", cause=engine.Cause.NONE, exit_code=75)
    assert making.of(news(failed, cancel_reason)).retry_after_seconds is None


def test_a_start_asks_for_nothing(making: reports.Reports) -> None:
    fact = engine.Started(key=KEY, at=store_values.NOON, engine_job_id="1", node="here")
    assert making.of(news(fact)).retry_after_seconds is None


@pytest.mark.parametrize(
    ("fact", "event"),
    [
        (engine.Suspended(key=KEY, at=store_values.later(5)), Event.SUSPENDED),
        (engine.Resumed(key=KEY, at=store_values.later(5)), Event.RESUMED),
    ],
)
def test_a_pause_is_told_and_ends_nothing(
    making: reports.Reports, fact: engine.Fact, event: Event
) -> None:
    for cancel_reason in (None, "enough"):
        report = making.of(news(fact, cancel_reason))
        assert (report.event, report.at) == (event, store_values.later(5))
        assert (report.ending, report.retry_after_seconds) == (None, None)


def test_what_an_attempt_used_and_how_it_was_packed_is_passed_on(
    making: reports.Reports, tmp_path: pathlib.Path
) -> None:
    usage = Usage(cpu_seconds=1.5, peak_memory_bytes=7, queue_seconds=30.0)
    packing = Packing(jobs=5, basis=Basis.OBSERVED)
    fact = exited(tmp_path, stdout=b"done", cause=engine.Cause.NONE)
    ended = making.of(news(dataclasses.replace(fact, usage=usage, packing=packing)))
    assert (ended.usage, ended.packing) == (usage, packing)
    assert (ended.engine_job_id, ended.node) == ("1", "here")
    start = engine.Started(
        key=KEY, at=store_values.NOON, engine_job_id="1", node="here", packing=packing
    )
    assert making.of(news(start)).packing == packing


@pytest.mark.parametrize(
    ("cause", "event", "is_retried"),
    [
        (engine.Cause.PREEMPTED, Event.PREEMPTED, True),
        (engine.Cause.PAST_DEADLINE, Event.PAST_DEADLINE, False),
    ],
)
def test_what_a_scheduler_stopped_is_retried_if_that_may_help(
    making: reports.Reports,
    tmp_path: pathlib.Path,
    cause: engine.Cause,
    event: Event,
    *,
    is_retried: bool,
) -> None:
    fact = exited(tmp_path, stdout=b"half", cause=cause)
    report = making.of(news(fact))
    assert report.event is event
    assert (report.retry_after_seconds is not None) == is_retried
    assert making.of(news(fact, "enough")).retry_after_seconds is None


def test_a_note_that_is_no_text_is_told_as_far_as_it_is(
    making: reports.Reports, tmp_path: pathlib.Path
) -> None:
    fact = exited(tmp_path, stdout=b"", cause=engine.Cause.NONE, exit_code=1)
    report = making.of(news(dataclasses.replace(fact, note="node \udcff")))
    assert report.ending is not None
    assert report.ending.reason == "Exit code 1: node ?"
