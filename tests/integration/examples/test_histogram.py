"""histogram agrees with a count by exact fractions and with numpy, and hides small bins."""

import fractions

import pytest

from support import examples_columns as columns
from support import examples_runs as examples


def count_exactly(values: list[float], low: int, high: int, bins: int) -> list[int]:
    """Count by the bin's number, computed without rounding."""
    counts = [0] * bins
    for value in map(fractions.Fraction, values):
        if low <= value <= high:
            counts[min(int((value - low) * bins / (high - low)), bins - 1)] += 1
    return counts


@pytest.mark.parametrize(
    ("file_name", "column", "low", "high", "bins"),
    [
        ("diabetes.csv", "progression", 0, 350, 14),
        ("iris.csv", "petal_length_cm", 1, 7, 12),
        ("waltons.csv", "T", 0, 80, 4),
        ("anes96.csv", "age", 20, 60, 8),
    ],
)
def test_bins_hold_what_exact_arithmetic_puts_there(
    file_name: str, column: str, low: int, high: int, bins: int
) -> None:
    values = columns.numbers(file_name, column)
    counts = count_exactly(values, low, high, bins)
    answer = examples.run(
        "histogram", file_name, column=column, bins=bins, range=[low, high], min_cell_count=3
    ).answer
    assert answer["counts"] == [None if 0 < count < 3 else count for count in counts]
    assert answer["edges"][0] == low
    assert answer["edges"][-1] == high
    assert len(answer["edges"]) == bins + 1


def test_missing_cells_are_left_out() -> None:
    answer = examples.run(
        "histogram", "co2.csv", column="co2", bins=14, range=[310, 380], min_cell_count=3
    ).answer
    # Computed with numpy 2.4.6: histogram().
    numpy_counts = [36, 275, 251, 231, 198, 175, 171, 156, 181, 190, 144, 149, 68, 0]
    assert answer["counts"] == numpy_counts
    assert answer["total"] == sum(numpy_counts) == 2225


def test_a_bin_below_the_minimum_cell_count_is_hidden_and_so_is_the_total() -> None:
    answer = examples.run(
        "histogram", "breast_cancer.csv", column="mean_radius", bins=20, range=[5, 30]
    ).answer
    # Computed with numpy 2.4.6: histogram().
    counts = [0, 1, 12, 34, 53, 115, 103, 77, 43, 28, 27, 31, 26, 7, 5, 2, 2, 2, 1, 0]
    assert answer["counts"] == [None if 0 < count < 5 else count for count in counts]
    assert answer["hidden_cells"] == 5
    assert answer["total"] is None


def test_values_outside_the_range_are_counted_apart() -> None:
    values = columns.numbers("diabetes.csv", "bmi")
    answer = examples.run("histogram", "diabetes.csv", column="bmi", bins=2, range=[22, 30]).answer
    assert answer["below"] == sum(value < 22 for value in values)
    assert answer["above"] == sum(value > 30 for value in values)
    assert answer["total"] == 442


def test_a_range_of_its_own_ends_at_round_numbers_and_holds_everything() -> None:
    answer = examples.run("histogram", "iris.csv", column="sepal_length_cm").answer
    assert (answer["edges"][0], answer["edges"][-1]) == (4, 8)
    assert (answer["below"], answer["above"]) == (0, 0)


def test_a_range_that_is_no_range_is_refused() -> None:
    run = examples.run("histogram", "iris.csv", column="sepal_length_cm", range=[7, 1])
    assert run.exit_code == 78
    assert run.log == "parameter 'range' must be two numbers, the lower one first\n"
