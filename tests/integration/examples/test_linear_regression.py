"""linear_regression gives certified numbers, and those of other programs."""

import pathlib
import statistics
from typing import Any

import pytest

from support import examples_columns as columns
from support import examples_runs as examples

# NIST Statistical Reference Datasets, Longley: certified estimate and standard deviation.
# https://www.itl.nist.gov/div898/strd/lls/data/Longley.shtml
CERTIFIED_LONGLEY = {
    "(intercept)": (-3482258.63459582, 890420.383607373),
    "GNPDEFL": (15.0618722713733, 84.9149257747669),
    "GNP": (-0.358191792925910e-01, 0.334910077722432e-01),
    "UNEMP": (-2.02022980381683, 0.488399681651699),
    "ARMED": (-1.03322686717359, 0.214274163161675),
    "POP": (-0.511041056535807e-01, 0.226073200069370),
    "YEAR": (1829.15146461355, 455.478499142212),
}
# Computed with statsmodels 0.15.0: OLS(...).fit(), params and bse.
STATSMODELS_DIABETES = {
    "(intercept)": (-334.56713851878504, 67.45462110434146),
    "age": (-0.036361224223622125, 0.21704143540876233),
    "sex": (-22.859648090498546, 5.835821285014883),
    "bmi": (5.602962091923725, 0.7171055005609119),
    "bp": (1.1168079933181876, 0.22523816918826903),
    "s1": (-1.089996334063235, 0.5733318585500622),
    "s2": (0.7464504555142173, 0.5308343897660249),
    "s3": (0.37200471508914124, 0.7824638456267189),
    "s4": (6.533831935990338, 5.958637837216329),
    "s5": (68.48312496478786, 15.669719238707183),
    "s6": (0.28011698932150114, 0.2733139503593655),
}
STATSMODELS_GRUNFELD = {
    "value": (0.10775589960506267, 0.005551990949911246),
    "capital": (0.18237547455264044, 0.023103748576564574),
}
STATSMODELS_FERTILITY = {
    "(intercept)": (0.6709540242199779, 0.15190608526182064),
    "1960": (-0.18577925971613918, 0.03871100288922296),
    "1990": (0.8159072628037898, 0.0352757236313733),
}


def fit(file_name: str, target: str, predictors: list[str], **parameters: object) -> dict[str, Any]:
    return examples.run(
        "linear_regression", file_name, target=target, predictors=predictors, **parameters
    ).answer


def check(
    answer: dict[str, Any], expected: dict[str, tuple[float, float]], *, relative: float
) -> None:
    assert set(answer["coefficients"]) == set(expected)
    for name, (estimate, error) in expected.items():
        coefficient = answer["coefficients"][name]
        assert coefficient["estimate"] == pytest.approx(estimate, rel=relative)
        assert coefficient["standard_error"] == pytest.approx(error, rel=relative)
        assert coefficient["t"] == pytest.approx(estimate / error, rel=relative)


def test_the_certified_values_of_the_longley_data_are_met() -> None:
    predictors = [name for name in CERTIFIED_LONGLEY if name != "(intercept)"]
    answer = fit("longley.csv", "TOTEMP", predictors)
    check(answer, CERTIFIED_LONGLEY, relative=1e-10)
    assert answer["residual_standard_deviation"] == pytest.approx(304.854073561965, rel=1e-10)
    assert answer["r2"] == pytest.approx(0.995479004577296, rel=1e-10)
    assert (answer["n"], answer["degrees_of_freedom"]) == (16, 9)


def test_ten_predictors_give_what_statsmodels_gives() -> None:
    predictors = [name for name in STATSMODELS_DIABETES if name != "(intercept)"]
    answer = fit("diabetes.csv", "progression", predictors)
    check(answer, STATSMODELS_DIABETES, relative=1e-9)
    assert answer["r2"] == pytest.approx(0.5177484222203499, rel=1e-12)


def test_a_model_without_intercept_compares_with_zero() -> None:
    answer = fit("grunfeld.csv", "invest", ["value", "capital"], intercept=False)
    check(answer, STATSMODELS_GRUNFELD, relative=1e-12)
    assert answer["r2"] == pytest.approx(0.8576875608688324, rel=1e-12)


def test_rows_that_miss_something_are_left_out() -> None:
    answer = fit("fertility.csv", "2011", ["1960", "1990"])
    check(answer, STATSMODELS_FERTILITY, relative=1e-10)
    assert (answer["n"], answer["degrees_of_freedom"]) == (194, 191)


@pytest.mark.parametrize(
    ("file_name", "target", "predictor"),
    [
        ("iris.csv", "petal_width_cm", "petal_length_cm"),
        ("stackloss.csv", "STACKLOSS", "AIRFLOW"),
        ("linnerud.csv", "Waist", "Weight"),
        ("strikes.csv", "duration", "iprod"),
    ],
)
def test_a_line_is_the_one_of_the_statistics_module(
    file_name: str, target: str, predictor: str
) -> None:
    x, y = columns.numbers(file_name, predictor), columns.numbers(file_name, target)
    line = statistics.linear_regression(x, y)
    answer = fit(file_name, target, [predictor])
    coefficients = answer["coefficients"]
    assert coefficients[predictor]["estimate"] == pytest.approx(line.slope, rel=1e-11)
    assert coefficients["(intercept)"]["estimate"] == pytest.approx(line.intercept, rel=1e-11)
    assert answer["r2"] == pytest.approx(statistics.correlation(x, y) ** 2, rel=1e-10)


def test_dependent_predictors_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "twice.csv"
    rows = [f"{x * x},{x},{3 * x + 1}" for x in range(20)]
    path.write_text("\n".join(["y,x,thrice", *rows, ""]))
    run = examples.run("linear_regression", path, target="y", predictors=["x", "thrice"])
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "the predictors are linearly dependent\n"


def test_a_model_that_nearly_repeats_the_data_is_refused() -> None:
    run = examples.run(
        "linear_regression",
        "longley.csv",
        target="TOTEMP",
        predictors=["GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR"],
        min_cell_count=10,
    )
    assert run.exit_code == 78
    assert run.log.startswith("too few complete rows for so many predictors")
