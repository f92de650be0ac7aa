"""Fits the coefficients that leave the smallest sum of squared residuals."""

import dataclasses
import math
from collections.abc import Sequence

from fitting import qr


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Coefficient:
    """What one column contributes, and how sure that is."""

    estimate: float
    standard_error: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A fitted model; r2 is None when the observed values do not vary."""

    coefficients: Sequence[Coefficient]
    residual_standard_deviation: float
    r2: float | None


def fit(columns: Sequence[Sequence[float]], observed: Sequence[float], *, centred: bool) -> Fit:
    """Fit `observed` by the columns, which must be fewer than its entries.

    `centred` says that the columns hold an intercept: r2 then compares with the
    mean of what was observed, otherwise with zero.
    """
    factors = qr.factorise(columns, observed)
    estimates = qr.solve(factors.triangle, factors.rotated)
    # What the columns do not span is left below the triangle.
    left = math.fsum(entry * entry for entry in factors.rotated[len(columns) :])
    deviation = math.sqrt(left / (len(observed) - len(columns)))
    origin = math.fsum(observed) / len(observed) if centred else 0.0
    total = math.fsum((value - origin) ** 2 for value in observed)
    varies = min(observed) < max(observed) if centred else total > 0
    return Fit(
        coefficients=[
            Coefficient(estimate=estimate, standard_error=deviation * scale)
            for estimate, scale in zip(estimates, _scales(factors.triangle), strict=True)
        ],
        residual_standard_deviation=deviation,
        r2=1 - left / total if varies else None,
    )


def _scales(triangle: Sequence[Sequence[float]]) -> list[float]:
    """Return the lengths of the rows of R's inverse: standard errors for deviation 1."""
    size = len(triangle)
    units = ([float(i == j) for i in range(size)] for j in range(size))
    inverse = [qr.solve(triangle, unit) for unit in units]
    return [math.sqrt(math.fsum(column[i] ** 2 for column in inverse)) for i in range(size)]
