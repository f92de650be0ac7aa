"""Summarises columns: how many values, their centre and their spread.

Numbers get mean, standard deviation and quartiles (no extremes: the smallest
and the largest value belong to one person each); text gets its levels. What
fewer than the minimum cell count stand for is hidden.
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import disclosure
import job
import table


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    data = table.read(input_path)
    minimum = disclosure.minimum_cell_count(parameters)
    names = parameters.texts("columns") or list(data.names)
    group_by = parameters.text("group_by")
    disclosure.require(len(data.rows), minimum, "rows")
    answer: dict[str, object] = {"min_cell_count": minimum}
    if not group_by:
        return answer | {"columns": summarise(data, data, names, minimum), "rows": len(data.rows)}
    groups = split(data, group_by)
    large = {label: group for label, group in groups.items() if len(group.rows) >= minimum}
    return answer | {
        "group_by": group_by,
        # Neither a count of all rows nor the small groups' names: the one minus
        # the groups that are shown, or the other, would tell what is hidden.
        "groups": {
            label: {"columns": summarise(group, data, names, minimum), "rows": len(group.rows)}
            for label, group in large.items()
        },
        "hidden_groups": len(groups) - len(large),
    }


def split(data: table.Table, group_by: str) -> dict[str, table.Table]:
    """Cut the rows by a column; rows without a group are left out."""
    rows: dict[str, list[Sequence[str | None]]] = {}
    for label, row in zip(data.texts(group_by), data.rows, strict=True):
        if label is not None:
            rows.setdefault(label, []).append(row)
    return {label: table.Table(data.names, members) for label, members in rows.items()}


def summarise(
    group: table.Table, whole: table.Table, names: Sequence[str], minimum: int
) -> dict[str, object]:
    """Summarise columns of a group; what a column is, the whole table decides."""
    return {
        name: summarise_numbers(group.numbers(name), minimum)
        if whole.is_numeric(name)
        else summarise_levels(group.texts(name), minimum)
        for name in names
    }


def summarise_numbers(cells: Sequence[float | None], minimum: int) -> dict[str, object]:
    values = sorted(cell for cell in cells if cell is not None)
    missing = len(cells) - len(values)
    # Each of the two counts tells the other, because the rows are known.
    hidden = len(values) < minimum or disclosure.shown(missing, minimum) is None
    summary: dict[str, object] = {
        "count": None if hidden else len(values),
        "missing": None if hidden else missing,
        "type": "number",
    }
    if len(values) < minimum:
        return summary
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return summary | {
        "lower_quartile": quantile(values, 0.25),
        "mean": mean,
        "median": quantile(values, 0.5),
        "standard_deviation": math.sqrt(spread),
        "upper_quartile": quantile(values, 0.75),
    }


def summarise_levels(cells: Sequence[str | None], minimum: int) -> dict[str, object]:
    counts: dict[str, int] = {}
    for cell in cells:
        if cell is not None:
            counts[cell] = counts.get(cell, 0) + 1
    hidden = hide(counts, minimum)
    return {
        "hidden_levels": len(hidden),
        "levels": {level: count for level, count in counts.items() if level not in hidden},
        "type": "text",
    }


def hide(counts: dict[str, int], minimum: int) -> set[str]:
    """Choose the levels to hide: the small ones, and more until they are many together.

    Without the second rule the rows minus the levels that are shown would tell
    the size of a level that is hidden.
    """
    hidden: set[str] = set()
    together = 0
    for level, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        if count >= minimum and (together == 0 or together >= minimum):
            break
        hidden.add(level)
        together += count
    return hidden


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile, interpolated between the two nearest values."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


if __name__ == "__main__":
    sys.exit(job.run(compute))
