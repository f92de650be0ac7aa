"""An attempt as the runner holds it while its process, or anything it started, lives."""


class Attempt:
    """One running attempt. The runner is the parent of its main process until it is reaped."""

    __slots__ = (
        "cause",
        "cpu_seconds",
        "deadline",
        "folder",
        "is_over",
        "lost_reason",
        "memory_bytes",
        "memory_group",
        "name",
        "peak_bytes",
        "pid",
        "slot",
        "spawned_at",
        "started_at",
        "wait_status",
        "workspace",
    )

    def __init__(self, *, name: str, folder: str, memory_bytes: int, slot: "Slot") -> None:
        self.name = name
        self.folder = folder
        self.workspace = f"{folder}/workspace"
        self.memory_bytes = memory_bytes
        self.slot = slot
        self.pid = 0
        self.started_at = 0.0
        self.spawned_at = (0, 0)
        """The clock ticks between which the process was made; see `processes.ticks`."""
        self.deadline = 0.0
        """On the monotonic clock."""
        self.cause = "NONE"
        """Why the runner stopped it, if it did."""
        self.lost_reason = ""
        """Why its end is not the method's own, so that it counts as lost."""
        self.is_over = False
        """Nothing of it lives, and its end was told."""
        self.wait_status: int | None = None
        """How the main process ended; None while it lives."""
        self.peak_bytes = 0
        """The most memory that one process of it held; known when the main process ended."""
        self.cpu_seconds = 0.0
        """Processor time of the main process and all that it waited for; known as the peak is."""
        self.memory_group = ""
        """The control group that limits its memory, when it is not the slot."""


class Slot:
    """A control group that holds one attempt at a time."""

    __slots__ = ("is_spoilt", "path", "procs_fd")

    def __init__(self, *, path: str, procs_fd: int) -> None:
        self.path = path
        self.procs_fd = procs_fd
        """Open on cgroup.procs, for reading and writing."""
        self.is_spoilt = False
        """Its attempt made groups in it, so it is not fit for another."""


NO_SLOT = Slot(path="", procs_fd=-1)
"""What an attempt has where there are no control groups."""
