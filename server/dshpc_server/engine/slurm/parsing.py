"""Reads what Slurm's commands print. Pure; each format is here, beside its reader.

Promise: what is not ours is passed over, a state that nobody knows is UNKNOWN, and a line that is
not in form is passed over as well, unless no line is: then it was no answer.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence

from dshpc_server.domain.job import Resources
from dshpc_server.engine.slurm.cluster import REST, Limits, Partition, State, Task

OUR_PREFIX = "dshpc-"
# The name before the reason: a name of ours has no bar in it, and what follows is one field.
TASKS_FORMAT = "%F|%K|%T|%N|%j|%r"
PARTITION_FORMAT = "%N|%c|%m|%G|%l|%P"
_NONE = "(null)"
_MEBIBYTE = 1024 * 1024
_LINE_CHARACTERS = 200
_SLICE_CHARACTERS = 16_000  # a word may have 128 KiB
_STATES = {state.value: state for state in State}
_NOTHING = ("None", "(null)", "N/A")
_NOT_AN_INDEX = "N/A"
_ROW = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?::([1-9]\d{0,6}))?)?", re.ASCII)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class NoFormError(Exception):
    """What was printed is no answer to what was asked."""


def tasks(text: str) -> list[Task]:
    """Read what squeue printed in TASKS_FORMAT, each task by itself; those of others are not told.

    Tasks that wait come as ranges: squeue can tell them one by one (-r), but then leaves out the
    last of a long row with steps.
    """
    found: list[Task] = []
    in_form = 0
    for line in text.splitlines():
        fields = line.split("|", 5)
        if len(fields) != 6:
            continue
        array_id, index, state, node, name, reason = fields
        if name.startswith(OUR_PREFIX):
            try:
                numbers = [REST] if index == _NOT_AN_INDEX else _indexes(index)
            except ValueError:
                continue
            found += [
                Task(
                    name=name,
                    index=number,
                    job_id=array_id if number == REST else f"{array_id}_{number}",
                    state=_STATES.get(state, State.UNKNOWN),
                    node=node,
                    reason="" if reason in _NOTHING else reason,
                )
                for number in numbers
            ]
        in_form += 1
    if text.strip() and not in_form:
        raise NoFormError(f"no line in form: {first_line(text)}")
    return found


def submitted(text: str) -> str | None:
    """Read the job id that sbatch printed (--parsable); None when there is none."""
    matched = re.fullmatch(r"(\d+)(;[^\n]*)?\n?", text)
    return matched.group(1) if matched and int(matched.group(1)) else None


def limits(text: str) -> Limits:
    """Read what `scontrol show config` printed."""
    settings = _settings(text)
    try:
        array_tasks = int(settings["MaxArraySize"])
        # A site may allow fewer than its largest index.
        fewer = re.search(r"(?:^|,)max_array_tasks=(\d+)", settings.get("SchedulerParameters", ""))
        return Limits(
            max_array_tasks=min(array_tasks, int(fewer.group(1))) if fewer else array_tasks,
            max_jobs=int(settings["MaxJobCount"]),
            has_accounting=settings.get("AccountingStorageType", "").endswith("/slurmdbd"),
            has_prolog=any(settings.get(key, _NONE) != _NONE for key in ("Prolog", "TaskProlog")),
            booted_at=moment(settings.get("BOOT_TIME", "")),
        )
    except (KeyError, ValueError) as error:
        raise NoFormError(f"no configuration: {error}") from error


def partition(text: str, name: str) -> Partition:
    """Read what sinfo printed in PARTITION_FORMAT of this partition, or of the default one."""
    nodes: dict[str, Resources] = {}
    longest: list[float | None] = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6 or not (name or fields[5].endswith("*")):
            continue
        node, cpus, memory, gres, limit, _ = fields
        try:
            nodes[node] = Resources(
                cpus=_count(cpus), memory_bytes=_count(memory) * _MEBIBYTE, gpus=gpus(gres)
            )
            longest.append(time_limit(limit))
        except ValueError:
            continue
    if not nodes:
        which = f"no partition '{name}' with nodes" if name else "no default partition with nodes"
        raise NoFormError(which)
    return Partition(
        nodes=list(dict.fromkeys(nodes.values())),
        cpus=sum(node.cpus for node in nodes.values()),
        memory_bytes=sum(node.memory_bytes for node in nodes.values()),
        gpus=sum(node.gpus for node in nodes.values()),
        longest_seconds=_longest(longest),
    )


def gpus(gres: str) -> int:
    """Count the GPUs in a list of generic resources, such as `gpu:a100:2(S:0-1),shard:8`."""
    count = 0
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        kind, *rest = entry.split(":")
        if kind == "gpu":
            count += _size(rest[-1]) if rest and rest[-1][:1].isdecimal() else 1
    return count


def time_limit(text: str) -> float | None:
    """Read a time limit such as `1-00:00:00`, `30:00` or `infinite`, which is None."""
    if text.lower() in ("infinite", "unlimited"):
        return None
    return elapsed_seconds(text)


def elapsed_seconds(text: str) -> float:
    """Read a span of time as Slurm writes it: `[[DAYS-]HOURS:]MINUTES:SECONDS[.FRACTION]`."""
    days, _, rest = text.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = 60 * total + float(part)
    return total + 86_400 * int(days or 0)


def moment(text: str) -> datetime.datetime | None:
    """Read a moment: seconds since 1970, as SLURM_TIME_FORMAT asks for; None if it is none."""
    if not text.isdecimal():
        return None
    return datetime.datetime.fromtimestamp(int(text), datetime.UTC)


def first_line(text: str) -> str:
    """The first line that says anything, short and printable, for an error."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return "".join(sign if sign.isprintable() else "?" for sign in line[:_LINE_CHARACTERS])


def slices(job_ids: Iterable[str]) -> list[str]:
    """Put the tasks of each array together: `12_3 12_4 12_7` is `12_[3-4,7]`."""
    whole: dict[str, None] = {}
    indexes: dict[str, set[int]] = {}
    for job_id in job_ids:
        array_id, _, index = job_id.partition("_")
        if index.isdecimal():
            indexes.setdefault(array_id, set()).add(int(index))
        else:
            whole[job_id] = None
    found = [
        f"{array_id}_[{part}]"
        for array_id, numbers in indexes.items()
        for part in _ranges(sorted(numbers))
    ]
    return [*whole, *found]


def _indexes(text: str) -> Sequence[int]:
    """Read the indexes of tasks: `7`, or `3,5-9,10-98:2%4`. Raises ValueError."""
    if text.isdecimal():
        return [int(text)]
    if "..." in text:
        # Who is not told would count as gone.
        raise NoFormError(f"a row of tasks is cut short: {text}")
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        matched = _ROW.fullmatch(part)
        if matched is None:
            raise ValueError(f"no row of tasks: {part}")
        first, last, step = matched.groups()
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Write ascending numbers as ranges; another text begins where one would be too long."""
    parts: list[str] = []
    length = 0
    begin = 0
    for position, number in enumerate(numbers):
        if position + 1 < len(numbers) and numbers[position + 1] == number + 1:
            continue
        first = numbers[begin]
        part = str(number) if first == number else f"{first}-{number}"
        begin = position + 1
        if length + len(part) > _SLICE_CHARACTERS:
            yield ",".join(parts)
            parts, length = [], 0
        parts.append(part)
        length += len(part) + 1
    if parts:
        yield ",".join(parts)


def _settings(text: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {key.strip(): value.strip() for key, between, value in pairs if between}


def _count(text: str) -> int:
    """Read a number; sinfo adds a plus where nodes differ."""
    return int(text.removesuffix("+"))


def _size(text: str) -> int:
    """Read a number with a unit, if it has one."""
    unit = _UNITS.get(text[-1:])
    return int(text[:-1]) * unit if unit else int(text)


def _longest(limits: Sequence[float | None]) -> float | None:
    told = [limit for limit in limits if limit is not None]
    return max(told) if len(told) == len(limits) else None
