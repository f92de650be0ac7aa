"""What can never work ends with exit code 78 and one line that gives no data away."""

import pathlib
from typing import Any

import pytest

from support import examples_runs as examples

# One job per method that reads columns, with `nobody` where a column belongs.
UNKNOWN_COLUMN: dict[str, dict[str, Any]] = {
    "column_summary": {"columns": ["nobody"]},
    "histogram": {"column": "nobody"},
    "linear_regression": {"target": "petal_width_cm", "predictors": ["nobody"]},
    "pca": {"columns": ["petal_width_cm", "nobody"]},
    "correlation": {"columns": ["petal_width_cm", "nobody"]},
    "group_compare": {"value": "nobody", "group": "species"},
    "kaplan_meier": {"time": "nobody", "times": [1]},
}
# The same methods over a column of text.
TEXT_COLUMN: dict[str, dict[str, Any]] = {
    "histogram": {"column": "species"},
    "linear_regression": {"target": "petal_width_cm", "predictors": ["species"]},
    "pca": {"columns": ["petal_width_cm", "species"]},
    "correlation": {"columns": ["petal_width_cm", "species"]},
    "group_compare": {"value": "species", "group": "species"},
    "kaplan_meier": {"time": "species", "times": [1]},
}


IRIS = examples.DATA / "iris.csv"
REFUSED = 78
COEFFICIENTS = "parameter 'coefficient' must be one of: pearson, spearman"


@pytest.mark.parametrize("method", UNKNOWN_COLUMN)
def test_an_unknown_column_is_refused_with_the_names_of_those_there_are(method: str) -> None:
    run = examples.run(method, IRIS, **UNKNOWN_COLUMN[method])
    assert (run.exit_code, run.output) == (REFUSED, "")
    assert run.log == (
        "column 'nobody' is not in the data, which has: sepal_length_cm, sepal_width_cm, "
        "petal_length_cm, petal_width_cm, species\n"
    )


@pytest.mark.parametrize("method", UNKNOWN_COLUMN)
def test_text_small_minimums_and_absent_files_end_as_they_should(method: str) -> None:
    below_floor, absent, *text = examples.run_all(
        method,
        [
            (IRIS, UNKNOWN_COLUMN[method] | {"min_cell_count": 2}),
            (IRIS.with_name("nowhere.csv"), UNKNOWN_COLUMN[method]),
            *[(IRIS, TEXT_COLUMN[name]) for name in TEXT_COLUMN if name == method],
        ],
    )
    # A client cannot lower the minimum cell count below the site's floor.
    assert below_floor.exit_code == REFUSED
    assert below_floor.log == ("parameter 'min_cell_count' must be an integer from 3 to 1000000\n")
    # A file may be there the next time: this failure is not for ever.
    assert (absent.exit_code, absent.log) == (1, "cannot read: No such file or directory\n")
    for run in text:
        assert (run.exit_code, run.log) == (REFUSED, "column 'species' is not numeric\n")
    assert {run.output for run in (below_floor, absent, *text)} == {""}


def test_the_floor_holds_for_missing_values_too() -> None:
    run = examples.run("missing_values", IRIS, min_cell_count=2)
    assert (run.exit_code, run.output) == (REFUSED, "")
    assert run.log == "parameter 'min_cell_count' must be at least 3\n"


@pytest.mark.parametrize("method", ["missing_values", "word_count"])
def test_a_bash_method_says_that_a_file_is_absent(method: str) -> None:
    run = examples.run(method, "nowhere.csv")
    assert run.exit_code not in {0, REFUSED}
    assert run.output == ""
    assert "nowhere.csv" in run.log


def test_what_is_no_table_is_refused(tmp_path: pathlib.Path) -> None:
    cases = {
        b"": "the data have no header line",
        b"a,a\n1,2\n": "the header names a column twice",
        b"a,b\n1,2\n1,2,3\n": "row 2 has 3 cells, the header has 2",
        b"a,b\n\xff,2\n": "the data are not UTF-8 text",
        b'a,b\n"1" 2,2\n': "the data are not CSV text",
    }
    paths = [tmp_path / f"{number}.csv" for number in range(len(cases))]
    for path, content in zip(paths, cases, strict=True):
        path.write_bytes(content)
    runs = examples.run_all("correlation", [(path, {"columns": ["a", "b"]}) for path in paths])
    assert [(run.exit_code, run.output) for run in runs] == [(REFUSED, "")] * len(cases)
    assert [run.log for run in runs] == [f"{message}\n" for message in cases.values()]


def test_parameters_that_do_not_fit_are_refused() -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"columns": "a"}, "parameter 'columns' must be an array"),
        ({"columns": ["a", 1]}, "parameter 'columns' must be an array of strings"),
        ({"columns": ["a", "a"]}, "parameter 'columns' names something twice"),
        ({"columns": ["a", "b"], "coefficient": "tau"}, COEFFICIENTS),
        ({"columns": ["a", "b"], "coefficient": 1}, "parameter 'coefficient' must be a string"),
        ({"min_cell_count": True}, "parameter 'min_cell_count' must hold numbers"),
        ({"min_cell_count": float("inf")}, "parameter 'min_cell_count' must hold finite numbers"),
        ({}, "parameter 'columns' is missing"),
    ]
    runs = examples.run_all("correlation", [(IRIS, parameters) for parameters, _ in cases])
    assert [(run.exit_code, run.output) for run in runs] == [(REFUSED, "")] * len(cases)
    assert [run.log for run in runs] == [f"{message}\n" for _, message in cases]


def test_the_same_job_gives_the_same_bytes() -> None:
    runs = {examples.run("column_summary", "wine.csv", group_by="cultivar") for _ in range(2)}
    assert len(runs) == 1
