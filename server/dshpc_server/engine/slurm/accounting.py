"""Reads what sacct prints of arrays: each task, and what its steps used. Pure."""

import contextlib

from dshpc_server.engine.slurm import parsing
from dshpc_server.engine.slurm.cluster import Accounted, State, Task

FORMAT = "JobID,JobName,State,NodeList,TotalCPU,MaxRSS,Start,End"
SINCE = "now-7days"
"""Without it sacct tells of what has ended today."""
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_NO_NODE = "None assigned"


def rows(text: str) -> list[Accounted]:
    """Read what sacct printed in FORMAT; what is not ours is passed over."""
    lines = [fields for line in text.splitlines() if len(fields := line.split("|")) == 8]
    peaks: dict[str, int] = {}
    for job_id, _, _, _, _, peak, _, _ in lines:
        task_id, _, step = job_id.partition(".")
        if step and (size := _bytes(peak)) is not None:
            peaks[task_id] = max(size, peaks.get(task_id, 0))
    found = []
    for job_id, name, state, node, cpu, _, start, end in lines:
        array_id, _, index = job_id.partition("_")
        if not name.startswith(parsing.OUR_PREFIX) or not index.isdecimal():
            continue
        task = Task(
            name=name,
            index=int(index),
            job_id=f"{array_id}_{index}",
            state=_state(state),
            node="" if node == _NO_NODE else node,
            reason="",
        )
        found.append(
            Accounted(
                task=task,
                cpu_seconds=_cpu_seconds(cpu),
                peak_memory_bytes=peaks.get(job_id),
                started_at=parsing.moment(start),
                ended_at=parsing.moment(end),
            )
        )
    return found


def _state(text: str) -> State:
    """Read a state; `CANCELLED by 1000` says who, too."""
    with contextlib.suppress(ValueError):
        return State(text.partition(" ")[0])
    return State.UNKNOWN


def _cpu_seconds(text: str) -> float | None:
    try:
        return parsing.elapsed_seconds(text)
    except ValueError:
        return None


def _bytes(text: str) -> int | None:
    """Read a size such as `1520K`; None where there is none."""
    factor = _UNITS.get(text[-1:], 1)
    try:
        return int(float(text.rstrip("".join(_UNITS))) * factor)
    except ValueError:
        return None
