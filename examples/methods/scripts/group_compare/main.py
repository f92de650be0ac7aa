"""Compares the mean of a column between two groups with Student's t test.

By default Welch's form, which lets the groups vary differently. Both groups
must be at least as large as the minimum cell count.
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import disclosure
import job
import student
import table


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    value_name, group_name = parameters.text("value"), parameters.text("group")
    pooled = parameters.flag("equal_variances")
    data = table.read(input_path)
    members = split(data.numbers(value_name), data.texts(group_name))
    labels = parameters.texts("groups") or sorted(members)
    check(labels, members)
    for label in labels:
        disclosure.require(len(members[label]), minimum, "values in a group")
    first, second = (student.describe(members[label]) for label in labels)
    try:
        test = student.compare(first, second, pooled=pooled)
    except ZeroDivisionError as error:
        raise job.UnfitError(f"column '{value_name}' does not vary in the groups") from error
    return {
        "degrees_of_freedom": test.degrees_of_freedom,
        "difference": first.mean - second.mean,
        "equal_variances": pooled,
        "groups": [
            report(label, sample) for label, sample in zip(labels, (first, second), strict=True)
        ],
        "p_value": test.p_value,
        "t": test.t,
    }


def split(
    values: Sequence[float | None], labels: Sequence[str | None]
) -> dict[str, Sequence[float]]:
    """Collect the values of each group; rows that miss either are left out."""
    members: dict[str, list[float]] = {}
    for value, label in zip(values, labels, strict=True):
        if value is not None and label is not None:
            members.setdefault(label, []).append(value)
    return dict(members)


def check(labels: Sequence[str], members: dict[str, Sequence[float]]) -> None:
    """Refuse anything but two groups that are in the data."""
    if len(labels) != 2:
        raise job.UnfitError("two groups are needed: name them with parameter 'groups'")
    for label in labels:
        if label not in members:
            raise job.UnfitError(f"group '{label}' is not in the data")


def report(label: str, sample: student.Sample) -> dict[str, object]:
    """Put a group into the answer's words."""
    return {
        "group": label,
        "mean": sample.mean,
        "n": sample.n,
        "standard_deviation": math.sqrt(sample.variance),
    }


if __name__ == "__main__":
    sys.exit(job.run(compute))
