"""What a task of an array runs, in the words of its wrapper (`task.sh`), which reads it as shell.

Promise: the shell gets every word exactly as it was given, byte for byte; nothing in it is code.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence

_CENTISECONDS = 100
MOST_JOBS = 9999
"""The wrapper numbers the jobs of a task with four digits."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskJob:
    """One job of a task."""

    folder: str
    """The attempt's folder."""
    name: str
    """The attempt's name, which its records carry; it needs no escapes in JSON."""
    limit_seconds: float
    memory_bytes: int
    """0 = no limit."""
    not_found: str
    """The reason when the command does not exist, as JSON."""
    cwd: str
    env: Mapping[str, str]
    """All of its environment; names are those that a shell can export."""
    argv: Sequence[str]


def text(jobs: Sequence[TaskJob]) -> str:
    """Return what the wrapper is to read, surrogates as they were given.

    Raises ValueError for what no process can be given, or the wrapper cannot number.
    """
    if not 0 < len(jobs) <= MOST_JOBS:
        raise ValueError(f"{len(jobs)} jobs do not make a task")
    return "".join(map(_call, jobs))


def check(job: TaskJob) -> None:
    """Raise ValueError for what no process can be given; that is quicker than to write it down."""
    _check("".join(_words(job)))


def _call(job: TaskJob) -> str:
    line = " ".join(["job", *map(shlex.quote, _words(job))]) + "\n"
    _check(line)
    return line


def _check(words: str) -> None:
    if "\0" in words:
        raise ValueError("no process can be given a NUL")
    words.encode(errors="surrogateescape")


def _words(job: TaskJob) -> Sequence[str]:
    limit = min(math.ceil(job.limit_seconds * _CENTISECONDS), 2**53)
    given = [job.folder, job.name, str(limit), str(job.memory_bytes), job.not_found, job.cwd]
    given += [f"{name}={value}" for name, value in job.env.items()]
    return [*given, "--", *job.argv]
