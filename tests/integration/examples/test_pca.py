"""pca agrees with numpy's singular values, and with what the components must satisfy."""

import math
import pathlib
import statistics

import pytest

from support import examples_columns as columns
from support import examples_runs as examples

IRIS = ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def test_unscaled_components_are_those_of_numpy() -> None:
    answer = examples.run("pca", "iris.csv", columns=IRIS, scaled=False).answer
    # Computed with numpy 2.4.6: linalg.svd() of the centred columns.
    assert answer["variances"] == pytest.approx(
        [4.228241706034867, 0.24267074792863344, 0.07820950004291943, 0.023835092973449445],
        rel=1e-12,
    )
    assert answer["loadings"] == [
        pytest.approx(row, rel=1e-10)
        for row in (
            [0.36138659178536847, -0.08452251406456857, 0.8566706059498351, 0.3582891971515507],
            [0.6565887712868422, 0.730161434785027, -0.17337266279585672, -0.07548101991746359],
            [-0.5820298513060655, 0.5979108301000856, 0.07623607582096331, 0.5458314320200754],
            [0.3154871929039756, -0.319723103666129, -0.47983898699463445, 0.7536574252640458],
        )
    ]


def test_rows_that_miss_something_are_left_out() -> None:
    answer = examples.run("pca", "fertility.csv", columns=["1960", "1980", "2000"]).answer
    # Computed with numpy 2.4.6: linalg.svd() of the scaled columns.
    assert answer["variances"] == pytest.approx(
        [2.564437081941511, 0.35624596481371373, 0.0793169532447747], rel=1e-12
    )
    assert answer["loadings"][0] == pytest.approx(
        [0.5587991682309036, 0.6086145337704781, 0.5633221448405812], rel=1e-10
    )
    assert answer["n"] == 193


def test_components_are_orthonormal_and_rebuild_the_correlations() -> None:
    values = [columns.numbers("elnino.csv", month) for month in MONTHS]
    answer = examples.run("pca", "elnino.csv", columns=MONTHS).answer
    loadings, variances = answer["loadings"], answer["variances"]
    size = range(len(MONTHS))
    for i in size:
        for j in size:
            product = math.fsum(loadings[i][k] * loadings[j][k] for k in size)
            assert product == pytest.approx(float(i == j), abs=1e-12)
            rebuilt = math.fsum(loadings[k][i] * variances[k] * loadings[k][j] for k in size)
            assert rebuilt == pytest.approx(statistics.correlation(values[i], values[j]), abs=1e-12)
    assert variances == sorted(variances, reverse=True)
    assert math.fsum(answer["shares"]) == pytest.approx(1, rel=1e-14)


def test_two_scaled_columns_have_the_closed_form() -> None:
    weight, waist = (columns.numbers("linnerud.csv", name) for name in ("Weight", "Waist"))
    r = statistics.correlation(weight, waist)
    answer = examples.run("pca", "linnerud.csv", columns=["Weight", "Waist"]).answer
    assert answer["variances"] == pytest.approx([1 + r, 1 - r], rel=1e-12)
    assert answer["loadings"][0] == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-12)


def test_a_column_that_does_not_vary_cannot_be_scaled(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "constant.csv"
    path.write_text("x,y\n" + "".join(f"{x},0.1\n" for x in range(20)))
    run = examples.run("pca", path, columns=["x", "y"])
    assert run.exit_code == 78
    assert run.log == "column 'y' does not vary, so it cannot be scaled\n"
