"""What a fake Slurm pretends to be: its nodes, its limits, and how long its steps take.

Made by the test, given to the controller's process as one word of JSON.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the pretended cluster is built; every part of it has a usual value."""

    nodes: int = 4
    """They are called n1, n2, ..."""
    cpus: int = 16
    """Of each node."""
    memory_megabytes: int = 4096
    """Of each node."""
    gpus: int = 0
    """Of each node."""
    partition: str = "main"
    longest_minutes: int | None = None
    """The partition's MaxTime; None = no limit."""
    cluster_name: str = "fake"
    has_accounting: bool = False
    """Whether sacct has anything to tell."""
    max_array_size: int = 100001
    max_job_count: int = 200000
    default_megabytes: int = 16
    """Memory of a CPU, where a job does not say."""
    kill_wait_seconds: float = 2.0
    """From SIGTERM to SIGKILL."""
    min_job_age_seconds: float = 300.0
    """How long an ended task is told of."""
    up_seconds: float = 0.0
    """How long the controller says that it had run already when the test began."""
    start_seconds: float = 0.02
    """From a submission, or an end, to the starts that follow from it."""
    minute_seconds: float = 60.0
    """How long a minute of a time limit lasts."""
    warn_seconds: float | None = 0.5
    """From one look for tasks that --signal has to reach to the next, in each task's life; the real
    one looks every 30 s. A shell that the signal would end has it later, when it expects it: what a
    test sees does not depend on how quickly a shell starts. None: the signal is lost, as the real
    one's to a task whose prolog runs still."""
    unanswered_seconds: float = 0.2
    """How long a program asks a controller that is down, before it gives up."""
    retry_seconds: float = 5.0
    """From one try of a program to the next, where the controller asked it to try again."""
