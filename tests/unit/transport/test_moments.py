"""Moments and durations cross the edge without losing a microsecond."""

import datetime

import hypothesis
import pytest
from google.protobuf import duration_pb2
from hypothesis import strategies as st

from dshpc_server.transport import moments


@hypothesis.given(st.datetimes(timezones=st.just(datetime.UTC)))
def test_a_moment_comes_back_as_it_was(moment: datetime.datetime) -> None:
    made = moments.timestamp(moment)
    assert made.ToDatetime(datetime.UTC) == moment
    assert 0 <= made.nanos < 1_000_000_000


def test_a_moment_before_1970_counts_its_fraction_forward() -> None:
    moment = datetime.datetime(1969, 12, 31, 23, 59, 59, 750_000, tzinfo=datetime.UTC)
    made = moments.timestamp(moment)
    assert (made.seconds, made.nanos) == (-1, 750_000_000)


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    here = datetime.datetime(2030, 1, 1, 5, 30, tzinfo=zone)
    there = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert moments.timestamp(here) == moments.timestamp(there)


@pytest.mark.parametrize(
    ("seconds", "nanos", "expected"),
    [(0, 0, 0.0), (2, 500_000_000, 2.5), (-1, -500_000_000, -1.5), (0, 1, 1e-9)],
)
def test_a_duration_is_read_with_its_fraction(seconds: int, nanos: int, expected: float) -> None:
    duration = duration_pb2.Duration(seconds=seconds, nanos=nanos)
    assert moments.seconds(duration) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, (0, 0)),
        (0.0016, (0, 2_000_000)),
        (59.9996, (60, 0)),
        (86_400.25, (86_400, 250_000_000)),
    ],
)
def test_a_duration_is_told_to_the_millisecond(seconds: float, expected: tuple[int, int]) -> None:
    made = moments.duration(seconds)
    assert (made.seconds, made.nanos) == expected
    assert moments.seconds(made) == pytest.approx(seconds, abs=5e-4)
