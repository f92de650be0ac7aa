"""Moments and durations between the contract's messages and Python's values."""

import datetime

from google.protobuf import duration_pb2, timestamp_pb2

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def timestamp(moment: datetime.datetime) -> timestamp_pb2.Timestamp:
    """Return a moment as a message, exact to the microsecond."""
    seconds, microseconds = divmod((moment - _EPOCH) // _MICROSECOND, 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=microseconds * 1000)


def seconds(duration: duration_pb2.Duration) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds) + duration.nanos / 1e9
