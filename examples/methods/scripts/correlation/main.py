"""Correlates two columns or more, pair by pair, over the rows that are complete.

`pearson` measures how close to a line a pair is, `spearman` the same for the
ranks, where equal values share the mean of their ranks.
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import disclosure
import job
import table


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    names = parameters.texts("columns")
    coefficient = parameters.choice("coefficient", ("pearson", "spearman"))
    if len(names) < 2:
        raise job.UnfitError("parameter 'columns' must name two columns or more")
    columns = table.read(input_path).complete_columns(names)
    rows = len(columns[0])
    disclosure.require(rows, minimum, "complete rows")
    if coefficient == "spearman":
        columns = [rank(column) for column in columns]
    units = [unit(name, column) for name, column in zip(names, columns, strict=True)]
    return {
        "columns": names,
        "correlations": [
            [1.0 if i == j else product(units[i], units[j]) for j in range(len(names))]
            for i in range(len(names))
        ],
        "coefficient": coefficient,
        "n": rows,
    }


def rank(values: Sequence[float]) -> list[float]:
    """Return each value's rank from 1; equal values get the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for position in order[start:end]:
            ranks[position] = (start + 1 + end) / 2
        start = end
    return ranks


def unit(name: str, values: Sequence[float]) -> list[float]:
    """Centre a column and scale it to length 1."""
    if min(values) == max(values):
        raise job.UnfitError(f"column '{name}' does not vary")
    mean = math.fsum(values) / len(values)
    centred = [value - mean for value in values]
    length = math.sqrt(math.fsum(value * value for value in centred))
    return [value / length for value in centred]


def product(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the product of two unit columns; rounding must not carry it past 1."""
    return max(-1.0, min(1.0, math.fsum(map(float.__mul__, first, second))))


if __name__ == "__main__":
    sys.exit(job.run(compute))
