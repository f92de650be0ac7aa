"""Reads a table: CSV text in UTF-8 with a header line.

Promises: a cell that is empty or says NA, NaN or null is missing; every row is
as long as the header; messages name columns and row numbers, never the content
of a cell, because messages leave the site.

Each method is a folder that stands alone, so each has its own copy of this file.
"""

import csv
import math
import pathlib
from collections.abc import Sequence

import job

MISSING_MARKS = frozenset({"", "na", "n/a", "nan", "null"})


class Table:
    """The rows of one file, by column name."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
        self.names = tuple(names)
        self.rows = rows

    def texts(self, name: str) -> list[str | None]:
        """Return a column as text, None where it is missing."""
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise job.UnfitError(f"column '{name}' is not in the data, which has: {known}")
        position = self.names.index(name)
        return [row[position] for row in self.rows]

    def numbers(self, name: str) -> list[float | None]:
        """Return a column of numbers, None where it is missing."""
        try:
            return [None if cell is None else _number(cell) for cell in self.texts(name)]
        except ValueError as error:
            raise job.UnfitError(f"column '{name}' is not numeric") from error

    def is_numeric(self, name: str) -> bool:
        """Tell whether a column holds numbers and nothing else."""
        try:
            numbers = self.numbers(name)
        except job.UnfitError:
            return False
        return any(number is not None for number in numbers)

    def complete_columns(self, names: Sequence[str]) -> list[list[float]]:
        """Return some columns of numbers, without the rows that miss any of them."""
        columns = [self.numbers(name) for name in names]
        complete = [None not in row for row in zip(*columns, strict=True)]
        return [
            [cell for cell, kept in zip(column, complete, strict=True) if kept and cell is not None]
            for column in columns
        ]


def read(path: pathlib.Path) -> Table:
    """Read a whole file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            records = [record for record in csv.reader(lines, strict=True) if record]
    except UnicodeDecodeError as error:
        raise job.UnfitError("the data are not UTF-8 text") from error
    except csv.Error as error:
        raise job.UnfitError("the data are not CSV text") from error
    if not records:
        raise job.UnfitError("the data have no header line")
    names = [name.strip() for name in records[0]]
    _check(names, records)
    return Table(names, [[_cell(text) for text in record] for record in records[1:]])


def _check(names: Sequence[str], records: Sequence[Sequence[str]]) -> None:
    if len(set(names)) != len(names):
        raise job.UnfitError("the header names a column twice")
    for number, record in enumerate(records):
        if len(record) != len(names):
            raise job.UnfitError(
                f"row {number} has {len(record)} cells, the header has {len(names)}"
            )


def _cell(text: str) -> str | None:
    stripped = text.strip()
    return None if stripped.lower() in MISSING_MARKS else stripped


def _number(cell: str) -> float:
    # float() would read "1_000" as a number; in data it is a name.
    number = math.nan if "_" in cell else float(cell)
    if not math.isfinite(number):
        raise ValueError
    return number
