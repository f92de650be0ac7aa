"""Moments and durations between the contract's messages and Python's values."""

import datetime

from google.protobuf import duration_pb2, timestamp_pb2

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def timestamp(moment: datetime.datetime) -> timestamp_pb2.Timestamp:
    """Return a moment as a message, exact to the microsecond."""
    seconds, rest = divmod(microseconds(moment), 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=rest * 1000)


def text(moment: datetime.datetime) -> str:
    """Return a moment as people read it, exact to the millisecond: 2024-01-01T12:00:00.000Z."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def microseconds(moment: datetime.datetime) -> int:
    """Return a moment as microseconds since 1970; `moment` is the way back."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime.datetime:
    """Return the moment so many microseconds after 1970; OverflowError for one out of range."""
    return _EPOCH + microseconds * _MICROSECOND


def duration(seconds: float) -> duration_pb2.Duration:
    """Return a duration as a message, exact to the millisecond."""
    whole, rest = divmod(round(seconds * 1000), 1000)
    return duration_pb2.Duration(seconds=whole, nanos=rest * 1_000_000)


def seconds(duration: duration_pb2.Duration) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds) + duration.nanos / 1e9
