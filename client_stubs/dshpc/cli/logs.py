"""`dshpc job log`: the bytes of an attempt's log to stdout, as they are."""

import dataclasses
import sys

from dshpc.client import Client
from dshpc.v1 import job_service_pb2

_FIRST_TAIL_BYTES = 64 << 10
_MOST_TAIL_BYTES = 64 << 20
"""Where lines are longer than that together, fewer of them are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Which log, of which run."""

    job_id: str
    log: job_service_pb2.Log.ValueType
    attempt: int = 0
    """0: the newest."""


def show(client: Client, place: Place, *, tail_lines: int | None, follows: bool) -> None:
    """Write a log, or its last lines, and with `follows` what comes until the attempt ends."""
    offset = 0
    if tail_lines is not None:
        tail = _tail(client, place, tail_lines)
        _write(tail.data)
        if tail.is_finished or not follows:
            return
        # A new attempt has another log: the one whose end was shown is gone on with.
        place, offset = dataclasses.replace(place, attempt=tail.attempt), tail.end
    for part in client.log(
        place.job_id, log=place.log, attempt=place.attempt, offset=offset, follow=follows
    ):
        _write(part.data)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Tail:
    """The end of a log."""

    data: bytes
    end: int
    """Offset of the byte after it."""
    attempt: int
    is_finished: bool


def _tail(client: Client, place: Place, lines: int) -> _Tail:
    """Return the last lines: twice as many bytes and more are asked for until they hold them."""
    tail_bytes = _FIRST_TAIL_BYTES
    while True:
        data, start, attempt, is_finished = bytearray(), None, place.attempt, False
        for part in client.log(
            place.job_id, log=place.log, attempt=place.attempt, tail_bytes=tail_bytes
        ):
            start = part.offset if start is None else start
            data += part.data
            attempt, is_finished = part.attempt or attempt, part.finished
        start = start or 0
        cut = _start_of_last(data, lines)
        if cut is not None or start == 0 or tail_bytes >= _MOST_TAIL_BYTES:
            return _Tail(
                data=bytes(data[cut or 0 :]),
                end=start + len(data),
                attempt=attempt,
                is_finished=is_finished,
            )
        tail_bytes *= 8


def _start_of_last(data: bytearray, lines: int) -> int | None:
    """Return where the last lines begin; None when that is before these bytes."""
    # A newline at the very end closes the last line and begins none.
    end = len(data) - data.endswith(b"\n")
    if lines == 0:
        return len(data)
    for _ in range(lines):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return None
    return end + 1
