"""Counts the values of a column in bins of equal width.

A bin with fewer values than the minimum cell count is hidden, and so is the
total then, which would give the hidden count away. Without a range of its own
the histogram ends at round numbers outside the data, so that the extremes,
which belong to one person each, are not told.
"""

import bisect
import fractions
import math
import pathlib
import sys
from collections.abc import Sequence

import disclosure
import job
import table

HIGHEST_BINS = 1000


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    bins = parameters.integer("bins", lowest=1, highest=HIGHEST_BINS)
    asked_range = parameters.numbers("range")
    name = parameters.text("column")
    values = [value for value in table.read(input_path).numbers(name) if value is not None]
    disclosure.require(len(values), minimum, f"values in column '{name}'")
    lowest, highest = bounds(asked_range) if asked_range else round_bounds(values)
    edges = [lowest + (highest - lowest) * i / bins for i in range(bins)] + [highest]
    counts = count(values, edges)
    below = sum(value < lowest for value in values)
    above = sum(value > highest for value in values)
    shown = [disclosure.shown(cell, minimum) for cell in [*counts, below, above]]
    return {
        "above": shown[-1],
        "below": shown[-2],
        "column": name,
        "counts": shown[:-2],
        "edges": edges,
        "hidden_cells": shown.count(None),
        "min_cell_count": minimum,
        "total": None if None in shown else len(values),
    }


def bounds(asked_range: Sequence[float]) -> tuple[float, float]:
    """Check the range that was asked for."""
    if len(asked_range) != 2 or asked_range[0] >= asked_range[1]:
        raise job.UnfitError("parameter 'range' must be two numbers, the lower one first")
    return float(asked_range[0]), float(asked_range[1])


def round_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return multiples of a power of ten, not wider than the data, that enclose all values."""
    lowest, highest = fractions.Fraction(min(values)), fractions.Fraction(max(values))
    width = float(highest - lowest)
    # Exact arithmetic: a rounded quotient could leave the smallest value outside.
    step = fractions.Fraction(10) ** (math.floor(math.log10(width)) if width > 0 else 0)
    start, end = math.floor(lowest / step), math.floor(highest / step) + 1
    return float(start * step), float(end * step)


def count(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count values per bin; a bin holds its lower edge, the last one both."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        if edges[0] <= value <= edges[-1]:
            counts[min(bisect.bisect_right(edges, value), len(counts)) - 1] += 1
    return counts


if __name__ == "__main__":
    sys.exit(job.run(compute))
