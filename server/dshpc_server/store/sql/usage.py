"""Between values and columns: what an attempt used, and how it was packed; see `columns`.

Both are told bit by bit: what is told later lies over what was told before, figure by figure, and
what is not told stays.
"""

from collections.abc import Sequence
from typing import Any

from dshpc_server.domain.job import Basis, Packing, Usage
from dshpc_server.store.sql import tables

_attempts = tables.attempts.c
COLUMNS = (
    _attempts.cpu_milliseconds,
    _attempts.peak_memory_bytes,
    _attempts.queue_milliseconds,
    _attempts.packed_jobs,
    _attempts.packed_by,
)
NAMES = tuple(column.name for column in COLUMNS)
_NOTHING = (None,) * len(COLUMNS)
_UNKNOWN = Usage()
# A look-up in a dict is a fifth of a call of the enum.
_BASES = {basis.value: basis for basis in Basis}


def told(before: Sequence[Any], usage: Usage | None, packing: Packing | None) -> Sequence[Any]:
    """Return the columns with what is told now over what was told before."""
    now = (*_usage_values(usage or _UNKNOWN), *_packing_values(packing))
    return [old if new is None else new for old, new in zip(before, now, strict=True)]


def read(row: Sequence[Any]) -> tuple[Usage, Packing | None]:
    """Build both from the columns."""
    if tuple(row) == _NOTHING:
        return _UNKNOWN, None
    cpu_milliseconds, peak_memory_bytes, queue_milliseconds, packed_jobs, packed_by = row
    usage = Usage(
        cpu_seconds=_seconds(cpu_milliseconds),
        peak_memory_bytes=peak_memory_bytes,
        queue_seconds=_seconds(queue_milliseconds),
    )
    if packed_jobs is None:
        return usage, None
    return usage, Packing(jobs=packed_jobs, basis=_BASES[packed_by])


def _usage_values(usage: Usage) -> tuple[int | None, int | None, int | None]:
    return (
        _milliseconds(usage.cpu_seconds),
        usage.peak_memory_bytes,
        _milliseconds(usage.queue_seconds),
    )


def _packing_values(packing: Packing | None) -> tuple[int | None, str | None]:
    return (None, None) if packing is None else (packing.jobs, packing.basis.value)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
