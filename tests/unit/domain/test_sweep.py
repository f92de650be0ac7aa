"""What a sweep's points are: their order, their number, and the numbers of ranges."""

import fractions
import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dshpc_server.domain import sweep

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NOT_ZERO = FINITE.filter(bool)
COUNTS = st.integers(1, 60)


def axis(name: str, *values: object) -> sweep.Axis[object]:
    return sweep.Axis(name=name, values=values)


def ranged(
    start: float, stop: float, count: int, *, is_logarithmic: bool = False
) -> sweep.Axis[object]:
    of = sweep.Range(start=start, stop=stop, count=count, is_logarithmic=is_logarithmic)
    return sweep.Axis(name="x", range=of)


def told(of: sweep.Sweep[object]) -> list[tuple[object, ...]]:
    """Every point, by its values."""
    return [
        tuple(values[position] for values, position in zip(of.values, positions, strict=True))
        for positions in of.points(0, of.total)
    ]


def numbers(
    start: float, stop: float, count: int, *, is_logarithmic: bool = False
) -> list[int | float]:
    asked = sweep.Range(
        start=float(start), stop=float(stop), count=count, is_logarithmic=is_logarithmic
    )
    return list(asked.numbers())


def test_the_last_axis_of_a_grid_is_the_fastest() -> None:
    grid = sweep.Sweep([axis("a", 1, 2), axis("b", "x", "y", "z")], sweep.Mode.GRID)
    assert grid.total == 6
    assert grid.names == ["a", "b"]
    assert told(grid) == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]


def test_axes_that_are_zipped_go_together() -> None:
    zipped = sweep.Sweep([axis("a", 1, 2, 3), axis("b", "x", "y", "z")], sweep.Mode.ZIP)
    assert zipped.total == 3
    assert told(zipped) == [(1, "x"), (2, "y"), (3, "z")]


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), min_size=1, max_size=5))
def test_a_grid_is_the_product_of_its_axes_in_order(lists: list[list[int]]) -> None:
    grid = sweep.Sweep([axis(f"x{n}", *each) for n, each in enumerate(lists)], sweep.Mode.GRID)
    assert grid.total == math.prod(map(len, lists))
    assert told(grid) == list(itertools.product(*lists))


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sampled_from(sweep.Mode),
    st.integers(1, 9),
)
def test_the_pieces_of_a_sweep_are_the_whole_of_it(
    lengths: list[int], mode: sweep.Mode, size: int
) -> None:
    if mode is sweep.Mode.ZIP:
        lengths = [lengths[0]] * len(lengths)
    axes = [axis(f"x{n}", *range(length)) for n, length in enumerate(lengths)]
    of = sweep.Sweep(axes, mode)
    pieces = [list(of.points(first, first + size)) for first in range(0, of.total, size)]
    assert list(itertools.chain(*pieces)) == list(of.points(0, of.total))
    assert sum(map(len, pieces)) == of.total


def test_how_many_points_there_are_is_known_before_one_is_made() -> None:
    axes: list[sweep.Axis[object]] = [
        sweep.Axis(name=f"x{n}", range=long.range) for n in range(1000)
    ]
    assert sweep.Sweep(axes, sweep.Mode.GRID).total == (2**31 - 1) ** 1000


long = ranged(0, 1, 2**31 - 1)


@given(FINITE, FINITE, COUNTS)
@example(-1.7976931348623157e308, 1.7976931348623157e308, 4)
@example(5e-324, 0.0, 3)
def test_a_range_has_its_ends_and_each_number_is_the_nearest_to_the_exact_one(
    start: float, stop: float, count: int
) -> None:
    made = numbers(start, stop, count)
    assert len(made) == count
    assert made[0] == start
    if count > 1:
        assert made[-1] == stop
        first, last = fractions.Fraction(start), fractions.Fraction(stop)
        exact = [first + (last - first) * n / (count - 1) for n in range(count)]
        assert made == [float(each) for each in exact]


def test_the_steps_of_a_range_are_what_people_expect() -> None:
    assert numbers(0, 1, 11) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert numbers(5, -5, 3) == [5, 0, -5]
    assert numbers(7, 9, 1) == [7]


@given(NOT_ZERO, NOT_ZERO, COUNTS)
@example(5e-324, 1.7976931348623157e308, 7)
def test_a_logarithmic_range_has_its_ends_and_goes_from_one_to_the_other(
    start: float, stop: float, count: int
) -> None:
    stop = math.copysign(stop, start)
    made = numbers(start, stop, count, is_logarithmic=True)
    assert len(made) == count
    assert made[0] == start
    if count > 1:
        assert made[-1] == stop
    assert made == sorted(made, reverse=start > stop)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 40))
def test_each_number_of_a_logarithmic_range_is_the_same_multiple_of_the_one_before(
    start: float, stop: float, count: int
) -> None:
    made = numbers(start, stop, count, is_logarithmic=True)
    multiple = (stop / start) ** (1 / (count - 1))
    for before, after in itertools.pairwise(made):
        assert math.isclose(after, before * multiple, rel_tol=1e-12)


def test_the_steps_of_a_logarithmic_range_are_what_people_expect() -> None:
    assert numbers(1, 1024, 11, is_logarithmic=True) == [2**n for n in range(11)]
    assert numbers(0.001, 1000, 7, is_logarithmic=True) == [0.001, 0.01, 0.1, 1, 10, 100, 1000]
    assert numbers(-1000, -1, 4, is_logarithmic=True) == [-1000, -100, -10, -1]


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(2, 50))
def test_integral_numbers_are_integers(start: int, stop: int, count: int) -> None:
    for number in numbers(start, stop, count):
        assert isinstance(number, int) == float(number).is_integer()


@given(NOT_ZERO, NOT_ZERO, COUNTS)
def test_the_same_range_has_the_same_numbers(start: float, stop: float, count: int) -> None:
    stop = math.copysign(stop, start)
    for is_logarithmic in (False, True):
        made = numbers(start, stop, count, is_logarithmic=is_logarithmic)
        assert made == numbers(start, stop, count, is_logarithmic=is_logarithmic)


@pytest.mark.parametrize(
    ("axes", "mode", "field"),
    [
        ([], sweep.Mode.GRID, "axes"),
        ([axis(f"x{n}", 1) for n in range(1001)], sweep.Mode.GRID, "axes"),
        ([axis("x", 1), axis("")], sweep.Mode.GRID, "axes[1].parameter"),
        ([axis("x", 1), axis("y")], sweep.Mode.GRID, "axes[1].values"),
        ([axis("x", 1), axis("y", 1), axis("x", 2)], sweep.Mode.GRID, "axes[2].parameter"),
        ([axis("x", 1, 2), axis("y", 1, 2, 3)], sweep.Mode.ZIP, "axes[1]"),
        (
            [sweep.Axis(name="x", values=(1,), range=long.range)],
            sweep.Mode.GRID,
            "axes[0].range",
        ),
        ([ranged(0, 1, 0)], sweep.Mode.GRID, "axes[0].range.count"),
        ([ranged(0, 1, -5)], sweep.Mode.GRID, "axes[0].range.count"),
        ([ranged(math.nan, 1, 2)], sweep.Mode.GRID, "axes[0].range.start"),
        ([ranged(0, -math.inf, 2)], sweep.Mode.ZIP, "axes[0].range.stop"),
        ([ranged(0, 1, 2, is_logarithmic=True)], sweep.Mode.GRID, "axes[0].range.start"),
        ([ranged(1, 0, 2, is_logarithmic=True)], sweep.Mode.GRID, "axes[0].range.stop"),
        ([ranged(-1, 1, 2, is_logarithmic=True)], sweep.Mode.GRID, "axes[0].range.stop"),
    ],
)
def test_what_is_no_sweep_is_refused_with_its_field(
    axes: list[sweep.Axis[object]], mode: sweep.Mode, field: str
) -> None:
    with pytest.raises(sweep.SweepError) as refused:
        sweep.Sweep(axes, mode)
    assert refused.value.field == field
    assert refused.value.description
