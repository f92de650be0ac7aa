"""How Slurm's programs print: tables by the caller's own format, moments, and spans of time."""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

_FIELD = re.compile(r"%(\.?)(\d*)([A-Za-z])")
_HEADS = {
    "A": "JOBID", "C": "CPUS", "D": "NODES", "F": "ARRAY_JOB_ID", "G": "GRES", "K": "ARRAY_TASK_ID",
    "M": "TIME", "N": "NODELIST", "P": "PARTITION", "R": "NODELIST(REASON)", "S": "START_TIME",
    "T": "STATE", "V": "SUBMIT_TIME", "a": "AVAIL", "c": "CPUS", "i": "JOBID", "j": "NAME",
    "l": "TIMELIMIT", "m": "MEMORY", "r": "REASON", "t": "ST", "u": "USER",
}  # fmt: skip

Row = TypeVar("Row")


def table(
    form: str, fields: Mapping[str, Callable[[Row], str]], rows: Iterable[Row], *, has_head: bool
) -> str:
    """A line for each row. Raises KeyError for a field that the fake does not do."""
    matches = list(_FIELD.finditer(form))
    # What is between the fields, before the first and after the last.
    between = [part for place, part in enumerate(_FIELD.split(form)) if place % 4 == 0]
    chosen = [(fields[match[3]], bool(match[1]), int(match[2] or 0)) for match in matches]

    def line(values: Iterable[str]) -> str:
        parts = [between[0]]
        for value, (_, is_right, width), after in zip(values, chosen, between[1:], strict=True):
            parts += [_fit(value, width, is_right=is_right) if width else value, after]
        return "".join(parts) + "\n"

    lines = [line(_HEADS[match[3]] for match in matches)] if has_head else []
    lines += [line(field(row) for field, _, _ in chosen) for row in rows]
    return "".join(lines)


def moment(at: float | None, form: str = "") -> str:
    """A moment in the caller's SLURM_TIME_FORMAT."""
    if at is None:
        return "N/A"
    local = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    return local.strftime(form or "%Y-%m-%dT%H:%M:%S")


def clock(seconds: int) -> str:
    """As squeue writes spans: 0:05, 1:00:00, 2-00:00:00."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{left:02}"
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def limit(minutes: int | None, *, unlimited: str) -> str:
    """A time limit."""
    return unlimited if minutes is None else clock(minutes * 60)


def _fit(value: str, width: int, *, is_right: bool) -> str:
    return value[:width].rjust(width) if is_right else value[:width].ljust(width)
