"""Outages: one line when they begin, one a minute, one when they are over."""

import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from dshpc_server import outage
from support import methods_site

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def clock() -> methods_site.HandClock:
    return methods_site.HandClock()


@pytest.fixture
def store(clock: methods_site.HandClock) -> outage.Outage:
    return outage.Outage(clock, begins="store.away", ends="store.back")


def test_it_is_told_when_it_begins_and_when_it_is_over(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    assert not store.works()
    for _ in range(40):
        store.failed("refused", port=5432)
        clock.advance(0.5)
    assert store.works(port=5432)
    assert not store.works()
    assert logs == [
        {"event": "store.away", "log_level": "warning", "reason": "refused", "port": 5432},
        {
            "event": "store.back",
            "log_level": "info",
            "port": 5432,
            "seconds": 20.0,
            "attempts": 40,
        },
    ]


def test_it_is_told_again_once_a_minute_with_the_newest_reason(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    for second in range(181):
        store.failed("shutting down" if second < 10 else "refused")
        clock.advance(1)
    assert [(each["reason"], each.get("seconds"), each.get("attempts")) for each in logs] == [
        ("shutting down", None, None),
        ("refused", 60.0, 61),
        ("refused", 120.0, 121),
        ("refused", 180.0, 181),
    ]


def test_it_is_over_when_it_works_for_all_for_whom_it_failed(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    store.failed("refused", by="asking")
    clock.advance(1)
    store.failed("refused", by="writing")
    assert not store.works(by="asking")
    assert not store.works(by="another")
    clock.advance(1)
    assert store.works(by="writing")
    assert [each["event"] for each in logs] == ["store.away", "store.back"]
    assert (logs[1]["seconds"], logs[1]["attempts"]) == (2.0, 2)


def test_another_kind_of_failure_is_told_at_once(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    for kind in ("away", "full", "away", "full"):
        store.failed(f"is {kind}", kind=kind)
        clock.advance(1)
    assert [each["reason"] for each in logs] == ["is away", "is full"]


def test_what_fails_and_works_by_turns_is_told_once_a_minute_too(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    for _ in range(61):
        store.failed("full")
        clock.advance(0.5)
        store.works()
        clock.advance(0.5)
    assert [each["event"] for each in logs] == ["store.away", "store.back"] * 2


def test_what_was_well_for_a_while_and_fails_again_is_news(
    store: outage.Outage, clock: methods_site.HandClock, logs: Logs
) -> None:
    for _ in range(2):
        store.failed("refused")
        store.works()
        clock.advance(outage.CALM_SECONDS)
    assert [each["event"] for each in logs] == ["store.away", "store.back"] * 2


def test_many_threads_tell_of_one_outage(store: outage.Outage, logs: Logs) -> None:
    def fail(name: str) -> None:
        for _ in range(100):
            store.failed("refused", by=name)

    threads = [threading.Thread(target=fail, args=(str(number),)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for number in range(4):
        store.works(by=str(number))
    assert [each["event"] for each in logs] == ["store.away", "store.back"]
    assert logs[1]["attempts"] == 400
