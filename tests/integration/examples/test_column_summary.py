"""column_summary agrees with the statistics module and with pandas, and hides small groups."""

import pathlib
import statistics

import pytest

from support import examples_columns as columns
from support import examples_runs as examples


@pytest.mark.parametrize(
    ("file_name", "column"),
    [("wine.csv", "proline"), ("diabetes.csv", "bmi"), ("longley.csv", "GNP")],
)
def test_numbers_are_summarised_as_the_statistics_module_does(file_name: str, column: str) -> None:
    values = columns.numbers(file_name, column)
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    answer = examples.run("column_summary", file_name, columns=[column]).answer
    summary = answer["columns"][column]
    assert summary["count"] == len(values)
    assert summary["missing"] == 0
    assert summary["mean"] == pytest.approx(statistics.fmean(values), rel=1e-14)
    assert summary["standard_deviation"] == pytest.approx(statistics.stdev(values), rel=1e-14)
    assert [
        summary["lower_quartile"],
        summary["median"],
        summary["upper_quartile"],
    ] == pytest.approx(quartiles, rel=1e-14)


def test_missing_cells_are_left_out() -> None:
    answer = examples.run("column_summary", "fertility.csv", columns=["1960"]).answer
    # Computed with pandas 3.1.1: describe().
    assert answer["columns"]["1960"] == {
        "count": 194,
        "lower_quartile": pytest.approx(4.21, rel=1e-14),
        "mean": pytest.approx(5.5118144329896905, rel=1e-14),
        "median": pytest.approx(6.179499999999999, rel=1e-14),
        "missing": 25,
        "standard_deviation": pytest.approx(1.7214390282785983, rel=1e-14),
        "type": "number",
        "upper_quartile": pytest.approx(6.8025, rel=1e-14),
    }


def test_groups_are_summarised_one_by_one() -> None:
    answer = examples.run("column_summary", "iris.csv", group_by="species").answer
    assert set(answer["groups"]) == {"setosa", "versicolor", "virginica"}
    for species, group in answer["groups"].items():
        values = columns.numbers_where("iris.csv", "petal_length_cm", "species", species)
        summary = group["columns"]["petal_length_cm"]
        assert group["rows"] == 50
        assert summary["mean"] == pytest.approx(statistics.fmean(values), rel=1e-14)


def test_text_is_summarised_by_its_levels() -> None:
    answer = examples.run("column_summary", "waltons.csv", columns=["group"]).answer
    assert answer["columns"]["group"] == {
        "hidden_levels": 0,
        "levels": {"control": 129, "miR-137": 34},
        "type": "text",
    }


def test_a_group_below_the_minimum_cell_count_is_hidden_with_its_name_and_the_total() -> None:
    run = examples.run("column_summary", "anes96.csv", columns=["age"], group_by="TVnews")
    shown = {key: group["rows"] for key, group in run.answer["groups"].items()}
    strict = examples.run(
        "column_summary", "waltons.csv", columns=["T"], group_by="group", min_cell_count=35
    )
    assert min(shown.values()) >= 5
    assert list(strict.answer["groups"]) == ["control"]
    assert strict.answer["hidden_groups"] == 1
    assert "miR-137" not in strict.output
    assert "rows" not in strict.answer


def test_a_hidden_level_cannot_be_found_by_subtraction(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("answer\n" + "yes\n" * 20 + "no\n" * 8 + "perhaps\n" * 2)
    answer = examples.run("column_summary", path).answer
    # Two rows alone would be 30 - 20 - 8: the next larger level is hidden with them.
    assert answer["columns"]["answer"] == {
        "hidden_levels": 2,
        "levels": {"yes": 20},
        "type": "text",
    }


def test_a_few_missing_cells_are_hidden(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "blood.csv"
    path.write_text("pressure,pulse\n" + "120,60\n" * 9 + "NA,61\n")
    pressure = examples.run("column_summary", path).answer["columns"]["pressure"]
    assert (pressure["count"], pressure["missing"]) == (None, None)
    assert pressure["mean"] == 120


def test_a_column_with_few_values_shows_none_of_them(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "blood.csv"
    path.write_text("pressure,pulse\n" + ",60\n" * 9 + "120,61\n" * 4)
    answer = examples.run("column_summary", path).answer
    assert answer["columns"]["pressure"] == {"count": None, "missing": None, "type": "number"}


def test_too_few_rows_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("pulse\n60\n61\n62\n63\n")
    run = examples.run("column_summary", path)
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "too few rows: the minimum cell count is 5\n"
