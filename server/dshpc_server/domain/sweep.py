"""Sweeps: how one config with axes becomes many points, each with a value of every axis.

Promises: what is wrong with a sweep, and how many points it has, is known before any of them is
made; the same sweep has the same points in the same order on every machine; a range has its ends as
they were given, and of numbers that are integral integers. Values that were listed are opaque here.
"""

import dataclasses
import enum
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from dshpc_server.domain import identity

T = TypeVar("T")

MAX_AXES = 1_000
_SIGNIFICANT_DIGITS = 15
"""Of a number between the ends of a logarithmic range: as many as every double keeps, and one less
than machines may differ in."""

_LARGEST_POWER = math.nextafter(1024.0, 0.0)
"""Of two, that is a double."""


class Mode(enum.StrEnum):
    """How axes are combined."""

    GRID = "GRID"
    """Every value of each with every value of the others, the last axis fastest."""
    ZIP = "ZIP"
    """The first values of all together, then the second ones, and so on."""


class SweepError(Exception):
    """Something that is no sweep: which field of it, and why."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers at even distances, or with even distances of their logarithms; both ends count."""

    start: float
    stop: float
    count: int
    is_logarithmic: bool = False

    def numbers(self) -> Sequence[int | float]:
        """Return all of them, in order."""
        between = self._multiples if self.is_logarithmic else self._evenly
        inner = [between(position) for position in range(1, self.count - 1)]
        ends = (self.start, self.stop) if self.count > 1 else (self.start,)
        return [identity.normal_number(each) for each in (ends[0], *inner, *ends[1:])]

    def _evenly(self, position: int) -> float:
        """Return the double next to the exact value: 0 to 1 in ten steps has 0.3."""
        steps = self.count - 1
        first, of_first = self.start.as_integer_ratio()
        last, of_last = self.stop.as_integer_ratio()
        above = first * of_last * (steps - position) + last * of_first * position
        return above / (of_first * of_last * steps)

    def _multiples(self, position: int) -> float:
        steps = self.count - 1
        first, last = math.log2(abs(self.start)), math.log2(abs(self.stop))
        size = 2.0 ** min((first * (steps - position) + last * position) / steps, _LARGEST_POWER)
        rounded = float(f"{size:.{_SIGNIFICANT_DIGITS}g}")
        low, high = sorted((abs(self.start), abs(self.stop)))
        return math.copysign(min(max(rounded, low), high), self.start)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Axis(Generic[T]):
    """One thing that varies."""

    name: str
    values: Sequence[T] = ()
    range: Range | None = None
    """Given if and only if no values are."""

    def __len__(self) -> int:
        return len(self.values) if self.range is None else self.range.count


class Sweep(Generic[T]):
    """Axes that were found to be right, and the points they make."""

    def __init__(self, axes: Sequence[Axis[T]], mode: Mode) -> None:
        """Raise SweepError when these axes make no sweep."""
        if not axes:
            raise SweepError("axes", "at least one is needed")
        if len(axes) > MAX_AXES:
            raise SweepError("axes", f"more than {MAX_AXES}")
        first: dict[str, int] = {}
        for number, axis in enumerate(axes):
            _check(f"axes[{number}]", axis)
            earlier = first.setdefault(axis.name, number)
            if earlier != number:
                raise SweepError(f"axes[{number}].parameter", f"is that of axes[{earlier}] already")
            if mode is Mode.ZIP and len(axis) != len(axes[0]):
                raise SweepError(
                    f"axes[{number}]",
                    f"has {len(axis)} values, and axes[0] has {len(axes[0])}: ZIP takes as many of"
                    " each",
                )
        self._axes = axes
        self._is_grid = mode is Mode.GRID
        self.total = math.prod(map(len, axes)) if self._is_grid else len(axes[0])
        """How many points there are."""

    @property
    def names(self) -> Sequence[str]:
        """What varies, in the order of the axes."""
        return [axis.name for axis in self._axes]

    @functools.cached_property
    def values(self) -> Sequence[Sequence[T | int | float]]:
        """The values of each axis. To be asked once it is known that they are not too many."""
        return [axis.values if axis.range is None else axis.range.numbers() for axis in self._axes]

    def points(self, first: int, last: int) -> Iterator[Sequence[int]]:
        """Yield the points from `first` to before `last`: of each axis the position of its value.

        Only these are made, so that a long sweep can be gone through in pieces.
        """
        last = min(last, self.total)
        if not self._is_grid:
            yield from ([number] * len(self._axes) for number in range(first, last))
        elif first < last:
            yield from itertools.islice(self._grid(first), last - first)

    def _grid(self, first: int) -> Iterator[Sequence[int]]:
        """Yield the points from `first` on, and begin anew after the last one."""
        lengths, positions = list(map(len, self._axes)), self._positions(first)
        while True:
            yield positions
            positions = positions.copy()
            for axis in reversed(range(len(lengths))):
                positions[axis] += 1
                if positions[axis] < lengths[axis]:
                    break
                positions[axis] = 0

    def _positions(self, number: int) -> list[int]:
        positions = []
        for axis in reversed(self._axes):
            number, position = divmod(number, len(axis))
            positions.append(position)
        return positions[::-1]


def _check(field: str, axis: Axis[T]) -> None:
    """Raise SweepError when an axis has no values, or none that can be."""
    if not axis.name:
        raise SweepError(f"{field}.parameter", "is empty")
    if axis.range is None:
        if not axis.values:
            raise SweepError(f"{field}.values", "none, and no range")
        return
    if axis.values:
        raise SweepError(f"{field}.range", "not together with values")
    _check_range(f"{field}.range", axis.range)


def _check_range(field: str, asked: Range) -> None:
    if asked.count < 1:
        raise SweepError(f"{field}.count", f"{asked.count} is not at least 1")
    for name, number in (("start", asked.start), ("stop", asked.stop)):
        if not math.isfinite(number):
            raise SweepError(f"{field}.{name}", f"{number} is not a finite number")
        if asked.is_logarithmic and number == 0:
            raise SweepError(f"{field}.{name}", "0 has no logarithm")
    if asked.is_logarithmic and (asked.start < 0) != (asked.stop < 0):
        raise SweepError(f"{field}.stop", "has another sign than start: there is no log_scale")
