"""Taking over, as the log tells it: one line, once everything is accounted for."""

import pathlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from dshpc_server.batches import taken_over
from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port as engine
from support import methods_site, store_values

Logs = list[MutableMapping[str, Any]]


def key(name: str) -> AttemptKey:
    return AttemptKey(job_id=store_values.sha(name), number=1)


def started(name: str) -> engine.Started:
    return engine.Started(key=key(name), at=store_values.NOON, engine_job_id="1", node="here")


def exited(name: str) -> engine.Exited:
    return engine.Exited(
        key=key(name),
        at=store_values.NOON,
        started_at=store_values.NOON,
        engine_job_id="1",
        node="here",
        exit_code=0,
        signal=None,
        cause=engine.Cause.NONE,
        stdout=pathlib.Path("stdout"),
        stderr=pathlib.Path("stderr"),
    )


def lost(name: str) -> engine.Lost:
    return engine.Lost(key=key(name), at=store_values.NOON, reason="no exit is on record")


@pytest.fixture
def clock() -> methods_site.HandClock:
    return methods_site.HandClock()


@pytest.fixture
def account(clock: methods_site.HandClock) -> taken_over.TakenOver:
    return taken_over.TakenOver(clock)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_the_log_tells_whose_they_were_and_what_has_become_of_them(
    account: taken_over.TakenOver, clock: methods_site.HandClock, logs: Logs
) -> None:
    whose = {"a": "first", "b": "first", "c": "second", "d": "second", "e": "second"}
    account.begin(
        [store_values.left_by(server, name) for name, server in whose.items()],
        [key(name) for name in "abcd"],
    )
    clock.advance(0.5)
    account.note([started("a"), exited("b"), started("a stranger")])
    account.note([exited("a"), started("d")])
    assert logs == []
    account.note([lost("c")])
    assert logs == [
        {
            "event": "recovered",
            "log_level": "info",
            "servers": ["first", "second"],
            "attempts": 5,
            "running": 2,
            "ended": 1,
            "lost": 1,
            "to_start": 1,
            "seconds": 0.5,
        }
    ]
    account.note([exited("d")])
    assert len(logs) == 1


def test_what_is_suspended_or_goes_on_runs(account: taken_over.TakenOver, logs: Logs) -> None:
    account.begin([store_values.left_by("first", name) for name in "ab"], [key("a"), key("b")])
    account.note([engine.Suspended(key=key("a"), at=store_values.NOON)])
    account.note([engine.Resumed(key=key("b"), at=store_values.NOON)])
    assert [each["running"] for each in logs] == [2]


def test_what_nobody_had_handed_over_waits_for_no_engine(
    account: taken_over.TakenOver, logs: Logs
) -> None:
    account.begin([store_values.left_by("first", "a")], [])
    assert [(each["attempts"], each["to_start"]) for each in logs] == [(1, 1)]


def test_what_is_taken_from_us_meanwhile_is_waited_for_no_more(
    account: taken_over.TakenOver, logs: Logs
) -> None:
    account.begin(
        [store_values.left_by("first", "a"), store_values.left_by("first", "b")],
        [key("a"), key("b")],
    )
    account.note([started("a")])
    account.forget([key("b"), key("never here")])
    assert [(each["attempts"], each["running"]) for each in logs] == [(2, 1)]


def test_take_overs_are_told_one_by_one(account: taken_over.TakenOver, logs: Logs) -> None:
    account.begin([store_values.left_by("first", "a")], [key("a")])
    account.begin([store_values.left_by("second", "b")], [key("b")])
    account.note([lost("b"), started("a")])
    assert [(each["servers"], each["lost"]) for each in logs] == [(["first"], 0), (["second"], 1)]
