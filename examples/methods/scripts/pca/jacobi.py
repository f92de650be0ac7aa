"""Finds the eigenvalues and eigenvectors of a symmetric matrix by Jacobi rotations.

Each rotation makes one entry outside the diagonal zero; a sweep over all of
them roughly squares what is left, so a few sweeps are enough.
"""

import math
from collections.abc import Sequence

MOST_SWEEPS = 60


def decompose(matrix: Sequence[Sequence[float]]) -> tuple[list[float], list[list[float]]]:
    """Return eigenvalues, the largest first, and their vectors.

    An eigenvector's sign is free: here its largest entry is positive.
    """
    work = [list(row) for row in matrix]
    size = len(work)
    vectors = [[float(i == j) for j in range(size)] for i in range(size)]
    for _ in range(MOST_SWEEPS):
        if not _sweep(work, vectors):
            break
    order = sorted(range(size), key=lambda i: -work[i][i])
    return [work[i][i] for i in order], [_with_sign(vectors[i]) for i in order]


def _sweep(work: list[list[float]], vectors: list[list[float]]) -> bool:
    """Rotate every entry above the diagonal away; tell whether there was any."""
    rotated = False
    for p in range(len(work) - 1):
        for q in range(p + 1, len(work)):
            if _is_negligible(work[p][q], work[p][p], work[q][q]):
                continue
            _rotate(work, vectors, p, q)
            rotated = True
    return rotated


def _is_negligible(entry: float, first: float, second: float) -> bool:
    """Tell whether an entry is too small to change either diagonal entry."""
    return abs(first) + abs(entry) == abs(first) and abs(second) + abs(entry) == abs(second)


def _rotate(work: list[list[float]], vectors: list[list[float]], p: int, q: int) -> None:
    """Turn the plane of p and q so that their entry becomes zero."""
    theta = (work[q][q] - work[p][p]) / (2 * work[p][q])
    # The smaller of the two angles that do it.
    tangent = math.copysign(1.0, theta) / (abs(theta) + math.hypot(theta, 1.0))
    cosine = 1 / math.hypot(tangent, 1.0)
    sine = tangent * cosine
    for row in work:
        row[p], row[q] = cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]
    for rows in (work, vectors):
        first, second = rows[p], rows[q]
        rows[p] = [cosine * x - sine * y for x, y in zip(first, second, strict=True)]
        rows[q] = [sine * x + cosine * y for x, y in zip(first, second, strict=True)]
    work[p][q] = work[q][p] = 0.0


def _with_sign(vector: Sequence[float]) -> list[float]:
    largest = max(vector, key=abs)
    # Adding zero turns -0.0 into 0.0.
    return [math.copysign(1.0, largest) * entry + 0.0 for entry in vector]
