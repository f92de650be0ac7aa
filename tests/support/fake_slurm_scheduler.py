"""What the fake controller does with its tasks: places them on nodes, starts, limits, ends them.

Everything happens in one event loop. A task's process that ends is told by `Processes.reap`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Collection, Sequence

from support import fake_slurm_jobs as jobs
from support import fake_slurm_processes as processes
from support import fake_slurm_settings as settings_

_REASONS = {
    "BOOT_FAIL": "NodeDown",
    "DEADLINE": "DeadLine",
    "FAILED": "NonZeroExitCode",
    "NODE_FAIL": "NodeDown",
    "OUT_OF_MEMORY": "OutOfMemory",
    "TIMEOUT": "TimeLimit",
}
_MINUTE_SECONDS = 60.0


class Node:
    """One pretended node: what of it is free."""

    def __init__(self, name: str, settings: settings_.Settings) -> None:
        self.name = name
        self.cpus = settings.cpus
        self.megabytes = settings.memory_megabytes
        self.gpus = settings.gpus

    def has_room(self, array: jobs.Array) -> bool:
        return (
            self.cpus >= array.cpus
            and self.megabytes >= array.megabytes
            and self.gpus >= array.gpus
        )

    def take(self, array: jobs.Array, times: int = 1) -> None:
        """For one task; -1 gives it back."""
        self.cpus -= times * array.cpus
        self.megabytes -= times * array.megabytes
        self.gpus -= times * array.gpus


class Scheduler:
    """The tasks' way from waiting to ended."""

    def __init__(self, settings: settings_.Settings, book: jobs.Book) -> None:
        self.nodes = [Node(f"n{number + 1}", settings) for number in range(settings.nodes)]
        self.processes = processes.Processes(self._ended)
        self.is_held = False
        self.is_down = False
        """The controller is: nothing is started, and nothing given a reason."""
        self._settings = settings
        self._book = book
        self._pass: asyncio.TimerHandle | None = None
        self._limits: dict[jobs.Task, asyncio.TimerHandle] = {}
        self._warnings: dict[jobs.Task, asyncio.TimerHandle] = {}

    def wake(self) -> None:
        """Something has changed: see soon what can start."""
        if self._pass is None:
            loop = asyncio.get_running_loop()
            self._pass = loop.call_later(self._settings.start_seconds, self._start_what_can)

    def stop(self, task: jobs.Task, state: str) -> None:
        """The task ends in this state: its processes are asked, then made to end."""
        if task.is_ended or task.ending:
            return
        if task.state == jobs.PENDING:
            del task.array.waiting[task.index]
            task.state, task.reason, task.ended_at = state, _REASONS.get(state, "None"), time.time()
            return
        task.state, task.reason, task.ending = state, _REASONS.get(state, "None"), True
        if state == "OUT_OF_MEMORY":  # nobody asks
            self.processes.signal_step(task, signal.SIGKILL)
        self.processes.signal_step(task, signal.SIGCONT, signal.SIGTERM)
        asyncio.get_running_loop().call_later(
            self._settings.kill_wait_seconds,
            self.processes.signal_step,
            task,
            signal.SIGKILL,
        )

    def cancel(self, tasks: Sequence[jobs.Task], named: Collection[str]) -> None:
        """These end as cancelled; of arrays that are `named` by their number all that wait do.

        A task that waits and is cancelled for itself leaves no record.
        """
        for array in {task.array for task in tasks}:
            if str(array.id) in named:
                array.end_waiting("CANCELLED", array.reason, time.time())
        for task in tasks:
            if task.state != jobs.PENDING:
                self.stop(task, "CANCELLED")
            elif task.index in task.array.waiting:
                task.array.cancel_waiting(task, time.time())

    def fail_node(self, task: jobs.Task) -> None:
        """The task's node is taken for dead; what runs there goes on."""
        task.state, task.reason = "NODE_FAIL", _REASONS["NODE_FAIL"]
        self._close(task)

    def suspend(self, task: jobs.Task) -> None:
        """All processes of a task stop where they are."""
        task.state = jobs.SUSPENDED
        self.processes.signal_step(task, signal.SIGSTOP)

    def resume(self, task: jobs.Task) -> None:
        """And go on."""
        task.state = jobs.RUNNING
        self.processes.signal_step(task, signal.SIGCONT)

    def _start_what_can(self) -> None:
        self._pass = None
        if self.is_down:
            return
        arrays = [a for a in self._book.arrays.values() if a.waiting and not a.is_blocked]
        blocked = False
        for array in sorted(arrays, key=lambda array: (array.nice, array.id)):
            while array.waiting and not (blocked or self.is_held):
                if 0 < array.parallel <= array.live:
                    break
                node = next((node for node in self.nodes if node.has_room(array)), None)
                if node is None:
                    break
                self._start(array.waiting.popitem(last=False)[1], node)
            if not array.waiting:
                continue
            if 0 < array.parallel <= array.live:
                array.reason = "JobArrayTaskLimit"
            else:
                array.reason = "Priority" if blocked else "Resources"
                blocked = True

    def _start(self, task: jobs.Task, node: Node) -> None:
        array = task.array
        task.number = self._book.new_id() if array.waiting else array.id
        task.state, task.node, task.started_at = jobs.RUNNING, node.name, time.time()
        array.live += 1
        node.take(array)
        try:
            self.processes.start(task, _environment(task, self._settings))
        except OSError:
            task.state, task.reason = "FAILED", "JobLaunchFailure"
            self._close(task)
            return
        if array.minutes is not None:
            seconds = array.minutes * self._settings.minute_seconds
            loop = asyncio.get_running_loop()
            self._limits[task] = loop.call_later(seconds, self.stop, task, "TIMEOUT")
            if array.warning is not None and array.warning.is_for_shell:
                early = array.warning.seconds / _MINUTE_SECONDS * self._settings.minute_seconds
                self._plan_warning(task, seconds - early)

    def _plan_warning(self, task: jobs.Task, seconds: float) -> None:
        """Signal the task's own process in so many seconds, or later, at the first look."""
        first = self._settings.warn_seconds
        if first is not None:
            self._warnings[task] = asyncio.get_running_loop().call_later(
                max(first, seconds), self._warn, task
            )

    def _warn(self, task: jobs.Task) -> None:
        array = task.array
        if task.ending or array.warning is None or not self._book.knows(array):
            return
        number = array.warning.number
        is_ready = self.processes.expects(task, number)
        if self.is_down or task.state == jobs.SUSPENDED or not is_ready:
            self._plan_warning(task, 0.0)
        else:
            self.processes.signal(task, number)

    def _ended(self, task: jobs.Task, code: int) -> None:
        if task.is_ended:
            return  # its node was taken for dead
        if task.state not in jobs.ENDED:
            task.state = "FAILED" if code else "COMPLETED"
            task.reason = "JobLaunchFailure" if code < 0 else "NonZeroExitCode" if code else "None"
        self._close(task)

    def _close(self, task: jobs.Task) -> None:
        task.ending, task.ended_at = False, time.time()
        for planned in (self._limits.pop(task, None), self._warnings.pop(task, None)):
            if planned is not None:
                planned.cancel()
        task.array.live -= 1
        next(node for node in self.nodes if node.name == task.node).take(task.array, -1)
        self.wake()


def _environment(task: jobs.Task, settings: settings_.Settings) -> dict[str, str]:
    array = task.array
    added = {
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": task.node,
        "SLURMD_NODENAME": task.node,
        "SLURM_CLUSTER_NAME": settings.cluster_name,
        "SLURM_CPUS_ON_NODE": array.cpus,
        "SLURM_CPUS_PER_TASK": array.cpus,
        "SLURM_JOBID": task.number,
        "SLURM_JOB_CPUS_PER_NODE": array.cpus,
        "SLURM_JOB_GID": os.getgid(),
        "SLURM_JOB_ID": task.number,
        "SLURM_JOB_NAME": array.name,
        "SLURM_JOB_NODELIST": task.node,
        "SLURM_JOB_NUM_NODES": 1,
        "SLURM_JOB_PARTITION": array.partition,
        "SLURM_JOB_UID": os.getuid(),
        "SLURM_JOB_USER": array.user,
        "SLURM_LOCALID": 0,
        "SLURM_MEM_PER_NODE": array.megabytes,
        "SLURM_NNODES": 1,
        "SLURM_NODEID": 0,
        "SLURM_NODELIST": task.node,
        "SLURM_NTASKS": 1,
        "SLURM_PROCID": 0,
        "SLURM_SUBMIT_DIR": array.folder,
    }
    if array.indexes is not None:
        added |= {
            "SLURM_ARRAY_JOB_ID": array.id,
            "SLURM_ARRAY_TASK_COUNT": len(array.indexes),
            "SLURM_ARRAY_TASK_ID": task.index,
            "SLURM_ARRAY_TASK_MAX": array.indexes[-1],
            "SLURM_ARRAY_TASK_MIN": array.indexes[0],
            "SLURM_ARRAY_TASK_STEP": 1,
        }
    return {**array.environment, **{name: str(value) for name, value in added.items()}}
