"""Reads the example data for the tests, on a way of its own.

The methods have their own reader; expected numbers must not come through it.
"""

import csv

from support import examples_runs


def texts(file_name: str, column: str) -> list[str]:
    """Return a column of a file as the text of its cells."""
    with (examples_runs.DATA / file_name).open(newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def numbers(file_name: str, column: str) -> list[float]:
    """Return the numbers of a column, without the cells that are empty."""
    return [float(cell) for cell in texts(file_name, column) if cell]


def numbers_where(file_name: str, column: str, key: str, value: str) -> list[float]:
    """Return the numbers of a column in the rows where another one has a value."""
    cells, keys = texts(file_name, column), texts(file_name, key)
    return [float(cell) for cell, found in zip(cells, keys, strict=True) if found == value]
