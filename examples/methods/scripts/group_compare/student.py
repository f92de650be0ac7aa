"""Student's t test for two samples, and the distribution it rests on."""

import dataclasses
import math
from collections.abc import Sequence

# The continued fraction gains a digit or more per step for every argument that
# it is used for; it ends when a step changes nothing that a float can hold.
MOST_STEPS = 10_000
SMALLEST_CHANGE = 1e-15
# Stands for zero where the fraction would divide by it.
TINY = 1e-300


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What the test needs to know of a group."""

    n: int
    mean: float
    variance: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The outcome; the p value is two-sided."""

    t: float
    degrees_of_freedom: float
    p_value: float


def describe(values: Sequence[float]) -> Sample:
    """Summarise a group of two values or more."""
    mean = math.fsum(values) / len(values)
    varies = min(values) < max(values)
    squares = math.fsum((value - mean) ** 2 for value in values) if varies else 0.0
    return Sample(n=len(values), mean=mean, variance=squares / (len(values) - 1))


def compare(first: Sample, second: Sample, *, pooled: bool) -> Outcome:
    """Test whether two means differ.

    Raises ZeroDivisionError when neither group varies.
    """
    if pooled:
        freedom = float(first.n + second.n - 2)
        squares = first.variance * (first.n - 1) + second.variance * (second.n - 1)
        variance = squares / freedom * (1 / first.n + 1 / second.n)
    else:
        parts = [first.variance / first.n, second.variance / second.n]
        variance = sum(parts)
        spread = parts[0] ** 2 / (first.n - 1) + parts[1] ** 2 / (second.n - 1)
        freedom = variance**2 / spread
    t = (first.mean - second.mean) / math.sqrt(variance)
    return Outcome(t=t, degrees_of_freedom=freedom, p_value=two_sided(t, freedom))


def two_sided(t: float, freedom: float) -> float:
    """Return the chance of a t at least as far from zero."""
    return incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function of x in [0, 1]."""
    if x in {0.0, 1.0}:
        return x
    # The fraction converges fast on this side of the mean only.
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    factor = math.exp(logarithm + a * math.log(x) + b * math.log1p(-x))
    return factor / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction from its head downwards (Lentz's way)."""
    value, above, below = 1.0, 1.0, 0.0
    for step in range(1, MOST_STEPS):
        term = _term(step, x, a, b)
        below = 1 / (1 + term * below or TINY)
        above = 1 + term / above or TINY
        value *= above * below
        if abs(above * below - 1) < SMALLEST_CHANGE:
            break
    return value


def _term(step: int, x: float, a: float, b: float) -> float:
    m = step // 2
    if step % 2 == 0:
        return m * (b - m) * x / ((a + step - 1) * (a + step))
    return -(a + m) * (a + b + m) * x / ((a + step - 1) * (a + step))
