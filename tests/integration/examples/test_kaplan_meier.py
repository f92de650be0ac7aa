"""kaplan_meier agrees with exact products and with statsmodels, and hides small risk sets."""

import fractions
from typing import Any

import pytest

from support import examples_columns as columns
from support import examples_runs as examples

TIMES = [10, 20, 30, 40, 50, 60, 70]
# Computed with statsmodels 0.15.0: SurvfuncRight, surv_prob and surv_prob_se.
STATSMODELS = {
    "control": [
        (0.9922480620155039, 0.007721833257236469),
        (0.98443508514924, 0.010920318653171527),
        (0.98443508514924, 0.010920318653171527),
        (0.9531831776841848, 0.018660677646685272),
        (0.7650764584659476, 0.03752758409917111),
        (0.3785945361480978, 0.043050098308827146),
    ],
    "miR-137": [
        (0.8823529411764706, 0.055255084507513194),
        (0.6470588235294118, 0.08195653482579247),
        (0.2352941176470588, 0.07274669910598144),
    ],
}


def survival(group: str, time: float) -> fractions.Fraction:
    """Multiply the shares that survive each event, without rounding."""
    ends = columns.numbers_where("waltons.csv", "T", "group", group)
    events = columns.numbers_where("waltons.csv", "E", "group", group)
    persons = list(zip(ends, events, strict=True))
    product = fractions.Fraction(1)
    for moment in {end for end, event in persons if event and end <= time}:
        at_risk = sum(end >= moment for end in ends)
        product *= 1 - fractions.Fraction(persons.count((moment, 1.0)), at_risk)
    return product


@pytest.fixture(scope="module", name="groups")
def run_over_waltons() -> dict[str, Any]:
    run = examples.run(
        "kaplan_meier", "waltons.csv", time="T", event="E", group_by="group", times=TIMES
    )
    groups = run.answer["groups"]
    assert isinstance(groups, dict)
    return groups


@pytest.mark.parametrize("group", STATSMODELS)
def test_survival_is_the_exact_product_and_the_error_greenwoods(
    groups: dict[str, Any], group: str
) -> None:
    shown = [point for point in groups[group]["points"] if point["survival"] is not None]
    assert len(shown) == len(STATSMODELS[group])
    for point, (probability, error) in zip(shown, STATSMODELS[group], strict=True):
        assert point["survival"] == pytest.approx(probability, rel=1e-12)
        assert point["survival"] == pytest.approx(float(survival(group, point["time"])), rel=1e-12)
        assert point["standard_error"] == pytest.approx(error, rel=1e-12)


def test_nothing_is_shown_where_few_are_at_risk(
    groups: dict[str, Any],
) -> None:
    last = groups["miR-137"]["points"][3]
    assert last == {"at_risk": None, "standard_error": None, "survival": None, "time": 40}


def test_the_median_and_the_events_are_those_of_statsmodels(
    groups: dict[str, Any],
) -> None:
    described = {
        label: (group["median"], group["events"], group["n"]) for label, group in groups.items()
    }
    assert described == {"control": (58, 122, 129), "miR-137": (26, 34, 34)}


def test_without_an_event_column_survival_is_the_share_still_going_on() -> None:
    durations = columns.numbers("strikes.csv", "duration")
    points = examples.run(
        "kaplan_meier", "strikes.csv", time="duration", times=[14, 28, 56]
    ).answer["groups"]["all"]["points"]
    for point in points:
        longer = sum(duration > point["time"] for duration in durations)
        assert point["survival"] == pytest.approx(longer / len(durations), rel=1e-12)


def test_a_small_group_is_hidden() -> None:
    run = examples.run(
        "kaplan_meier",
        "waltons.csv",
        time="T",
        event="E",
        group_by="group",
        times=[30],
        min_cell_count=35,
    )
    assert list(run.answer["groups"]) == ["control"]
    assert run.answer["hidden_groups"] == 1
    assert "miR-137" not in run.output


def test_an_event_that_is_neither_0_nor_1_is_refused() -> None:
    run = examples.run("kaplan_meier", "anes96.csv", time="age", event="educ", times=[30])
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "times must not be negative, events must be 0 or 1\n"
