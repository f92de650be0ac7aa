"""group_compare agrees with scipy's t tests and with an integral of the distribution."""

import math
import pathlib
import statistics

import pytest

from support import examples_columns as columns
from support import examples_runs as examples

# Computed with scipy 1.17.1: stats.ttest_ind(); t, p value, degrees of freedom.
SCIPY = [
    (
        "breast_cancer.csv",
        {"value": "mean_texture", "group": "diagnosis"},
        (-11.022086546579432, 3.019055292193909e-25, 463.0724217741693),
    ),
    (
        "breast_cancer.csv",
        {"value": "mean_texture", "group": "diagnosis", "equal_variances": True},
        (-10.86720108146434, 4.0586360478980125e-25, 567.0),
    ),
    (
        "diabetes.csv",
        {"value": "progression", "group": "sex"},
        (-0.9022224453390377, 0.367444979308397, 429.0028089221988),
    ),
    (
        "anes96.csv",
        {"value": "income", "group": "educ", "groups": ["3", "6"]},
        (-6.208715041674105, 1.1699006862421998e-09, 472.9952133769535),
    ),
]


@pytest.mark.parametrize(("file_name", "parameters", "expected"), SCIPY)
def test_a_test_is_the_one_of_scipy(
    file_name: str, parameters: dict[str, object], expected: tuple[float, float, float]
) -> None:
    answer = examples.run("group_compare", file_name, **parameters).answer
    t, p_value, freedom = expected
    # What is left between the two is the logarithm of the gamma function.
    assert answer["p_value"] == pytest.approx(p_value, rel=1e-10)
    assert answer["t"] == pytest.approx(t, rel=1e-12)
    assert answer["degrees_of_freedom"] == pytest.approx(freedom, rel=1e-12)


def test_the_groups_are_described_as_the_statistics_module_does() -> None:
    answer = examples.run("group_compare", "waltons.csv", value="T", group="group").answer
    for group in answer["groups"]:
        values = columns.numbers_where("waltons.csv", "T", "group", group["group"])
        assert group["n"] == len(values)
        assert group["mean"] == pytest.approx(statistics.fmean(values), rel=1e-14)
        assert group["standard_deviation"] == pytest.approx(statistics.stdev(values), rel=1e-14)


def test_a_p_value_is_the_area_outside_t() -> None:
    answer = examples.run(
        "group_compare",
        "iris.csv",
        value="sepal_width_cm",
        group="species",
        groups=["versicolor", "virginica"],
    ).answer
    inside = area(abs(answer["t"]), answer["degrees_of_freedom"])
    assert answer["p_value"] == pytest.approx(1 - 2 * inside, rel=1e-9)


def area(t: float, freedom: float) -> float:
    """Integrate Student's density from 0 to t by Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    steps = 2000
    weights = [1, *[4, 2] * (steps // 2 - 1), 4, 1]
    heights = (
        (1 + (t * i / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)
    )
    total = math.fsum(w * height for w, height in zip(weights, heights, strict=True))
    return scale / math.sqrt(freedom * math.pi) * total * t / steps / 3


def test_three_groups_are_refused_until_two_are_named() -> None:
    run = examples.run("group_compare", "iris.csv", value="sepal_width_cm", group="species")
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "two groups are needed: name them with parameter 'groups'\n"


def test_a_small_group_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "arms.csv"
    path.write_text("arm,pulse\n" + "a,60\na,62\n" * 10 + "b,70\n" * 4)
    run = examples.run("group_compare", path, value="pulse", group="arm")
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "too few values in a group: the minimum cell count is 5\n"
