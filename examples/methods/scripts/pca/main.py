"""Finds the principal components of two columns or more.

Answers with variances and loadings of the complete rows, never with the rows'
own scores: those would describe single persons.
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import disclosure
import jacobi
import job
import table


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    names = parameters.texts("columns")
    scaled = parameters.flag("scaled")
    if len(names) < 2:
        raise job.UnfitError("parameter 'columns' must name two columns or more")
    columns = table.read(input_path).complete_columns(names)
    rows = len(columns[0])
    disclosure.require(rows - len(names), minimum, "complete rows for so many columns")
    means = [math.fsum(column) / rows for column in columns]
    centred = [[x - mean for x in column] for column, mean in zip(columns, means, strict=True)]
    deviations = [deviation(column) for column in centred]
    if not any(deviations):
        raise job.UnfitError("the columns do not vary")
    if scaled:
        centred = [scale(*parts) for parts in zip(names, centred, deviations, strict=True)]
    matrix = [[covariance(first, second) for second in centred] for first in centred]
    variances, loadings = jacobi.decompose(matrix)
    # Rounding can leave a variance that is zero a little below it.
    variances = [max(variance, 0.0) for variance in variances]
    total = math.fsum(variances)
    return {
        "columns": names,
        "loadings": loadings,
        "means": means,
        "n": rows,
        "scaled": scaled,
        "shares": [variance / total for variance in variances],
        "standard_deviations": deviations,
        "variances": variances,
    }


def covariance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the covariance of two columns that are centred."""
    return math.fsum(map(float.__mul__, first, second)) / (len(first) - 1)


def deviation(column: Sequence[float]) -> float:
    """Return the standard deviation of a column that is centred."""
    # The mean of equal values is rounded: what is left then is not a deviation.
    return math.sqrt(covariance(column, column)) if min(column) < max(column) else 0.0


def scale(name: str, column: Sequence[float], divisor: float) -> list[float]:
    """Divide a column by its standard deviation."""
    if divisor == 0:
        raise job.UnfitError(f"column '{name}' does not vary, so it cannot be scaled")
    return [value / divisor for value in column]


if __name__ == "__main__":
    sys.exit(job.run(compute))
