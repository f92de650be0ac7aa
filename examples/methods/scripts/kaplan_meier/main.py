"""Estimates survival over time, per group, by Kaplan and Meier's method.

The curve is read at the times that were asked for and not at each event, which
would be one person's date. Where fewer than the minimum cell count are still
at risk, and for groups smaller than that, nothing is shown.
"""

import pathlib
import sys

import curve
import disclosure
import job
import table

ALL = "all"


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    times = parameters.numbers("times")
    if not times:
        raise job.UnfitError("parameter 'times' holds no time")
    data = table.read(input_path)
    groups = split(data, parameters)
    large = {label: persons for label, persons in groups.items() if len(persons) >= minimum}
    if not large:
        raise job.UnfitError(f"every group is below the minimum cell count of {minimum}")
    return {
        "groups": {label: report(persons, times, minimum) for label, persons in large.items()},
        "hidden_groups": len(groups) - len(large),
        "min_cell_count": minimum,
    }


def split(data: table.Table, parameters: job.Parameters) -> dict[str, list[curve.Person]]:
    """Collect the persons of each group; rows that miss anything are left out."""
    ends = data.numbers(parameters.text("time"))
    event, group_by = parameters.text("event"), parameters.text("group_by")
    # No event column: everybody was observed to the end.
    events = data.numbers(event) if event else [1.0] * len(ends)
    labels = data.texts(group_by) if group_by else [ALL] * len(ends)
    groups: dict[str, list[curve.Person]] = {}
    for end, seen, label in zip(ends, events, labels, strict=True):
        if end is None or seen is None or label is None:
            continue
        if end < 0 or seen not in {0.0, 1.0}:
            raise job.UnfitError("times must not be negative, events must be 0 or 1")
        groups.setdefault(label, []).append(curve.Person(end=end, had_event=seen == 1.0))
    return groups


def report(persons: list[curve.Person], times: list[float], minimum: int) -> dict[str, object]:
    """Describe one group at the times that were asked for."""
    steps = curve.estimate(persons)
    events = sum(person.had_event for person in persons)
    hides_events = None in {
        disclosure.shown(count, minimum) for count in (events, len(persons) - events)
    }
    median = curve.median(steps)
    return {
        "events": None if hides_events else events,
        "median": median.time if median and median.at_risk >= minimum else None,
        "n": len(persons),
        "points": [read(persons, steps, time, minimum) for time in times],
    }


def read(
    persons: list[curve.Person], steps: list[curve.Step], time: float, minimum: int
) -> dict[str, object]:
    """Read the curve at one time, if enough persons are still at risk."""
    at_risk = sum(person.end >= time for person in persons)
    if at_risk < minimum:
        return {"at_risk": None, "standard_error": None, "survival": None, "time": time}
    step = curve.at(steps, time)
    return {
        "at_risk": at_risk,
        "standard_error": step.standard_error,
        "survival": step.survival,
        "time": time,
    }


if __name__ == "__main__":
    sys.exit(job.run(compute))
