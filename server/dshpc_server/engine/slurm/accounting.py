"""Reads what sacct prints of arrays: each task, and what its steps used. Pure."""

import contextlib

from dshpc_server.engine.slurm import parsing
from dshpc_server.engine.slurm.cluster import Accounted, State, Task

FORMAT = "JobID,JobName,State,NodeList,TotalCPU,MaxRSS,End"
SINCE = "now-7days"
"""Without it sacct tells of what has ended today."""
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_NO_NODE = "None assigned"


def rows(text: str) -> list[Task]:
    """Read what sacct printed in FORMAT; what is not ours is passed over."""
    lines = [fields for line in text.splitlines() if len(fields := line.split("|")) == 7]
    peaks: dict[str, int] = {}
    for job_id, _, _, _, _, peak, _ in lines:
        task_id, _, step = job_id.partition(".")
        if step and (size := _bytes(peak)) is not None:
            peaks[task_id] = max(size, peaks.get(task_id, 0))
    found = []
    for job_id, name, state, node, cpu, _, end in lines:
        array_id, _, index = job_id.partition("_")
        if not name.startswith(parsing.OUR_PREFIX) or not index.isdecimal():
            continue
        known = Accounted(
            cpu_seconds=_cpu_seconds(cpu),
            peak_memory_bytes=peaks.get(job_id),
            ended_at=parsing.moment(end),
        )
        found.append(
            Task(
                name=name,
                index=int(index),
                job_id=f"{array_id}_{index}",
                state=_state(state),
                node="" if node == _NO_NODE else node,
                reason="",
                accounted=known,
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
