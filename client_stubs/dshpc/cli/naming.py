"""The names of a batch's configs: those that were given, and those that are made."""

import collections
import dataclasses
import enum
from collections.abc import Iterable

from dshpc.cli.batch import Row
from dshpc.cli.fields import BatchFileError

MAX_ROWS = 1_000_000
"""Stops a matrix or a sweep that was not meant; the server's own limit is lower."""


class Naming(enum.Enum):
    """Where a config's name comes from."""

    GIVEN = enum.auto()
    """From the batch file: no other config may have it."""
    DISTINCT = enum.auto()
    """From a file's name: numbered where another config has it."""
    NUMBERED = enum.auto()
    """Made for a matrix: always numbered."""


def named(rows: Iterable[tuple[Naming, Row]]) -> tuple[Row, ...]:
    """Number the names that are made; refuse a given one that is taken, and too many rows."""
    places: dict[str, str] = {}
    numbers: collections.Counter[str] = collections.Counter()
    found: list[Row] = []
    total = 0
    for naming, row in rows:
        total += row.count
        if total > MAX_ROWS:
            # What a job makes in one step is named where it is made.
            inner = ".sweep" if row.is_sweep else ""
            raise BatchFileError(
                f"{row.place}{inner}", f"the batch has more than {MAX_ROWS:,} jobs"
            )
        name = _distinct(row, naming, places, numbers)
        if name:
            places[name] = row.place
        found.append(row if name == row.config_id else dataclasses.replace(row, config_id=name))
    return tuple(found)


def _distinct(
    row: Row, naming: Naming, places: dict[str, str], numbers: "collections.Counter[str]"
) -> str:
    base = name = row.config_id
    if naming is Naming.GIVEN:
        if name in places:
            raise BatchFileError(f"{row.place}.config_id", f"{name!r} already names {places[name]}")
        return name
    if naming is Naming.DISTINCT and name not in places:
        numbers[base] += 1
        return name
    while name == base or name in places:
        numbers[base] += 1
        name = f"{base}/{numbers[base]}"
    return name
