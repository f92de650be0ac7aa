"""Splits a matrix, given by its columns, into an orthogonal and a triangular one.

Householder reflections: unlike the normal equations they keep the digits of
nearly dependent columns, of which real data are full.
"""

import dataclasses
import math
from collections.abc import Sequence

# A column is dependent when reflections leave less than this share of its
# length. Rounding leaves about 1e-16; the Longley data, famous for nearly
# dependent columns, leave more than 1e-6.
SMALLEST_SHARE = 1e-11


class DependentColumnsError(Exception):
    """A column is a sum of multiples of those before it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Factors:
    """R by its columns (R[j] has j + 1 entries), and Q transposed times the right side."""

    triangle: Sequence[Sequence[float]]
    rotated: Sequence[float]


def factorise(columns: Sequence[Sequence[float]], right: Sequence[float]) -> Factors:
    """Reflect the columns and the right side until the columns are triangular."""
    work = [list(column) for column in columns]
    rotated = list(right)
    triangle = []
    for j, column in enumerate(work):
        mirror, diagonal = _mirror(column, j)
        if abs(diagonal) <= SMALLEST_SHARE * _length(columns[j]):
            raise DependentColumnsError
        triangle.append([*column[:j], diagonal])
        for other in [*work[j + 1 :], rotated]:
            _reflect(other, mirror, j)
    return Factors(triangle=triangle, rotated=rotated)


def solve(triangle: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve R x = right from the last row upwards."""
    size = len(triangle)
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = math.fsum(triangle[j][i] * solution[j] for j in range(i + 1, size))
        solution[i] = (right[i] - known) / triangle[i][i]
    return solution


def _mirror(column: Sequence[float], start: int) -> tuple[list[float], float]:
    """Return the unit vector that mirrors the column's tail onto one entry, and that entry."""
    tail = list(column[start:])
    # Away from the first entry's sign: the subtraction below never cancels.
    diagonal = -math.copysign(_length(tail), tail[0])
    tail[0] -= diagonal
    length = _length(tail)
    return ([entry / length for entry in tail] if length else tail), diagonal


def _reflect(column: list[float], mirror: Sequence[float], start: int) -> None:
    double = 2 * math.fsum(map(float.__mul__, mirror, column[start:]))
    for i, entry in enumerate(mirror, start):
        column[i] -= double * entry


def _length(vector: Sequence[float]) -> float:
    return math.sqrt(math.fsum(entry * entry for entry in vector))
