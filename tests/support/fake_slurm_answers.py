"""What squeue, sinfo and scontrol of the fake Slurm answer."""

import dataclasses
import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping

from support import fake_slurm_jobs as jobs
from support import fake_slurm_scheduler as scheduler
from support import fake_slurm_settings as settings_
from support import fake_slurm_tables as tables
from support import fake_slurm_words as words_

_LETTERS = {
    "BOOT_FAIL": "BF", "CANCELLED": "CA", "COMPLETED": "CD", "COMPLETING": "CG", "DEADLINE": "DL",
    "FAILED": "F", "NODE_FAIL": "NF", "OUT_OF_MEMORY": "OOM", "PENDING": "PD", "PREEMPTED": "PR",
    "REVOKED": "RV", "RUNNING": "R", "SUSPENDED": "S", "TIMEOUT": "TO",
}  # fmt: skip
_SQUEUE = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
_SINFO = "%9P %.5a %.10l %.6D %.6t %N"
_UNASKED_STATES = {jobs.PENDING, jobs.RUNNING, jobs.SUSPENDED, jobs.COMPLETING}


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    """A line of squeue: a task, or several of an array that stand alike."""

    task: jobs.Task
    index: str
    job_id: str
    form: str
    """Of moments."""

    @property
    def reason(self) -> str:
        task = self.task
        return task.array.reason if task.state == jobs.PENDING else task.reason


@dataclasses.dataclass(frozen=True, slots=True)
class _Nodes:
    """A line of sinfo."""

    state: str
    nodes: list[scheduler.Node]
    settings: settings_.Settings

    @property
    def cpus(self) -> str:
        """Taken, idle, other, and all together."""
        total = len(self.nodes) * self.settings.cpus
        idle = sum(node.cpus for node in self.nodes)
        return f"{total - idle}/{idle}/0/{total}"


_TASK_FIELDS: Mapping[str, Callable[[_Line], str]] = {
    "A": lambda line: str(line.task.number),
    "C": lambda line: str(line.task.array.cpus),
    "D": lambda _: "1",
    "F": lambda line: str(line.task.array.id),
    "K": lambda line: line.index,
    "M": lambda line: tables.clock(_run_seconds(line.task)),
    "N": lambda line: line.task.node,
    "P": lambda line: line.task.array.partition,
    "R": lambda line: line.task.node or f"({line.reason})",
    "S": lambda line: tables.moment(line.task.started_at, line.form),
    "T": lambda line: jobs.shown_state(line.task),
    "V": lambda line: tables.moment(line.task.array.submitted_at, line.form),
    "a": lambda line: line.task.array.account or "(null)",
    "i": lambda line: line.job_id,
    "j": lambda line: line.task.array.name,
    "l": lambda line: tables.limit(line.task.array.minutes, unlimited="UNLIMITED"),
    "q": lambda line: line.task.array.qos,
    "r": lambda line: line.reason,
    "t": lambda line: _LETTERS[jobs.shown_state(line.task)],
    "u": lambda line: line.task.array.user,
}
_NODE_FIELDS: Mapping[str, Callable[[_Nodes], str]] = {
    "C": lambda line: line.cpus,
    "D": lambda line: str(len(line.nodes)),
    "E": lambda _: "none",
    "G": lambda line: f"gpu:{line.settings.gpus}" if line.settings.gpus else "(null)",
    "N": lambda line: _names([node.name for node in line.nodes]),
    "P": lambda line: f"{line.settings.partition}*",
    "R": lambda line: line.settings.partition,
    "T": lambda line: line.state,
    "a": lambda _: "up",
    "c": lambda line: str(line.settings.cpus),
    "l": lambda line: tables.limit(line.settings.longest_minutes, unlimited="infinite"),
    "m": lambda line: str(line.settings.memory_megabytes),
    "n": lambda _: "fake",
    "t": lambda line: {"allocated": "alloc", "mixed": "mix"}.get(line.state, line.state),
}


def squeue(book: jobs.Book, words: words_.Words, form: str) -> str:
    """The tasks that the options choose; `form` is that of moments."""
    options = words.options
    tasks = chosen(book, options)
    lines = _one_by_one(tasks, form) if "array" in options else _collapsed(tasks, form)
    has_head = "noheader" not in options
    return tables.table(options.get("format", _SQUEUE), _TASK_FIELDS, lines, has_head=has_head)


def chosen(book: jobs.Book, options: Mapping[str, str]) -> list[jobs.Task]:
    """The tasks that the options of squeue or scancel ask for."""
    states = _states(options.get("states", options.get("state", "")))
    names = options["name"].split(",") if "name" in options else None
    users = _users(options)
    places = [words_.job(word) for word in options["jobs"].split(",")] if "jobs" in options else []
    return [
        task
        for task in book.tasks()
        if (states is None or jobs.shown_state(task) in states)
        and (names is None or task.array.name in names)
        and (users is None or task.array.user in users)
        and options.get("partition", task.array.partition) == task.array.partition
        and (not places or any(_is_at(task, *place) for place in places))
    ]


def sinfo(nodes: list[scheduler.Node], settings: settings_.Settings, words: words_.Words) -> str:
    """The nodes, one line for each or one for those that are alike."""
    options = words.options
    groups: dict[str, _Nodes] = {}
    if options.get("partition", settings.partition) == settings.partition:
        for node in nodes:
            state = _node_state(node, settings)
            key = node.name if "Node" in options else state
            groups.setdefault(key, _Nodes(state, [], settings)).nodes.append(node)
    has_head = "noheader" not in options
    form = options.get("format", _SINFO)
    return tables.table(form, _NODE_FIELDS, groups.values(), has_head=has_head)


def config(settings: settings_.Settings, *, booted_at: float, form: str) -> str:
    """As of `scontrol show config`: what of it anybody asked for."""
    accounting = "slurmdbd" if settings.has_accounting else "none"
    values = {
        "AccountingStorageType": f"accounting_storage/{accounting}",
        "BOOT_TIME": tables.moment(booted_at, form),
        "ClusterName": settings.cluster_name,
        "DefMemPerCPU": settings.default_megabytes,
        "KillWait": f"{settings.kill_wait_seconds:g} sec",
        "MaxArraySize": settings.max_array_size,
        "MaxJobCount": settings.max_job_count,
        "MaxJobId": 67043328,
        "MinJobAge": f"{settings.min_job_age_seconds:g} sec",
        "ProctrackType": "proctrack/linuxproc",
        "SLURM_VERSION": "22.05.8",
        "SlurmUser": "root(0)",
    }
    lines = [f"{name:<23} = {value}" for name, value in values.items()]
    head = f"Configuration data as of {tables.moment(time.time(), form)}"
    return "\n".join([head, *lines, "", "Slurmctld(primary) at fake is UP", ""])


def partition(settings: settings_.Settings) -> str:
    """As of `scontrol show partition`: what of it anybody asked for."""
    names = _names([f"n{number + 1}" for number in range(settings.nodes)])
    cpus = settings.nodes * settings.cpus
    longest = tables.limit(settings.longest_minutes, unlimited="UNLIMITED")
    return (
        f"PartitionName={settings.partition}\n   Default=YES MaxTime={longest}\n"
        f"   Nodes={names}\n   State=UP TotalCPUs={cpus} TotalNodes={settings.nodes}\n\n"
    )


def _one_by_one(tasks: list[jobs.Task], form: str) -> Iterator[_Line]:
    for task in tasks:
        yield _Line(task, "N/A" if task.index is None else str(task.index), task.id, form)


def _collapsed(tasks: list[jobs.Task], form: str) -> Iterator[_Line]:
    """Those that never started are one line of their array."""
    groups: dict[tuple[int, str], list[jobs.Task]] = {}
    started: list[jobs.Task] = []
    for task in tasks:
        if task.index is None or task.pid is not None:
            started.append(task)
        else:
            groups.setdefault((task.array.id, task.state), []).append(task)
    for group in groups.values():
        array = group[0].array
        index = words_.spread([task.index for task in group if task.index is not None])
        index += f"%{array.parallel}" if array.parallel else ""
        yield _Line(group[0], index, f"{array.id}_[{index}]", form)
    yield from _one_by_one(started, form)


def _states(option: str) -> set[str] | None:
    if not option:
        return _UNASKED_STATES
    if option == "all":
        return None
    long = {letters: state for state, letters in _LETTERS.items()}
    return {long.get(word.upper(), word.upper()) for word in option.split(",")}


def _users(options: Mapping[str, str]) -> set[str] | None:
    if "me" in options:
        return {pwd.getpwuid(os.getuid()).pw_name}
    if "user" not in options:
        return None
    words = options["user"].split(",")
    return {pwd.getpwuid(int(word)).pw_name if word.isdigit() else word for word in words}


def _is_at(task: jobs.Task, job_id: int, spread: list[int] | None) -> bool:
    return job_id in {task.array.id, task.number} and (spread is None or task.index in spread)


def _node_state(node: scheduler.Node, settings: settings_.Settings) -> str:
    if node.cpus == settings.cpus:
        return "idle"
    return "mixed" if node.cpus > 0 else "allocated"


def _names(names: list[str]) -> str:
    """As Slurm writes several: n[1-4]."""
    if len(names) == 1:
        return names[0]
    return f"n[{words_.spread([int(name[1:]) for name in names])}]"


def _run_seconds(task: jobs.Task) -> int:
    if task.started_at is None:
        return 0
    return int((task.ended_at or time.time()) - task.started_at)
