"""correlation agrees with the statistics module, scipy and itself for every pair."""

import pathlib
import statistics

import pytest

from support import examples_columns as columns
from support import examples_runs as examples


@pytest.mark.parametrize(
    ("file_name", "names"),
    [
        ("wine.csv", ["alcohol", "flavanoids", "hue", "proline"]),
        ("longley.csv", ["GNP", "POP", "UNEMP"]),
        ("statecrime.csv", ["murder", "poverty", "single"]),
    ],
)
def test_every_pair_is_correlated_as_the_statistics_module_does(
    file_name: str, names: list[str]
) -> None:
    values = [columns.numbers(file_name, name) for name in names]
    answer = examples.run("correlation", file_name, columns=names).answer
    assert answer["columns"] == names
    assert answer["n"] == len(values[0])
    for i, first in enumerate(values):
        for j, second in enumerate(values):
            expected = statistics.correlation(first, second)
            assert answer["correlations"][i][j] == pytest.approx(expected, rel=1e-12)


def test_ranks_are_correlated_as_scipy_does() -> None:
    names = ["bmi", "bp", "progression"]
    answer = examples.run(
        "correlation", "diabetes.csv", columns=names, coefficient="spearman"
    ).answer
    # Computed with scipy 1.17.1: stats.spearmanr().
    bmi_bp, bmi_progression, bp_progression = (
        0.39798548573582704,
        0.5613820101065616,
        0.4162408981534322,
    )
    assert answer["correlations"][0] == pytest.approx([1, bmi_bp, bmi_progression], rel=1e-12)
    assert answer["correlations"][1] == pytest.approx([bmi_bp, 1, bp_progression], rel=1e-12)


def test_rows_that_miss_either_column_are_left_out() -> None:
    answer = examples.run(
        "correlation", "fertility.csv", columns=["1960", "1990"], coefficient="spearman"
    ).answer
    # Computed with scipy 1.17.1: stats.spearmanr().
    assert answer["correlations"][0][1] == pytest.approx(0.7427650553132579, rel=1e-12)


def test_a_column_that_does_not_vary_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "constant.csv"
    path.write_text("x,y\n" + "".join(f"{x},0.1\n" for x in range(9)))
    run = examples.run("correlation", path, columns=["x", "y"])
    assert (run.exit_code, run.output, run.log) == (78, "", "column 'y' does not vary\n")


def test_one_column_alone_is_refused() -> None:
    run = examples.run("correlation", "grunfeld.csv", columns=["invest"])
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "parameter 'columns' must name two columns or more\n"
