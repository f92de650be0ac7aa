"""What a test asks the fake controller to do wrong, and what it has counted for the test."""

import asyncio
import collections
import time
from typing import Any

from support import fake_slurm_jobs as jobs
from support import fake_slurm_scheduler as scheduler
from support import fake_slurm_settings as settings_

_BREATH_SECONDS = 0.01


class Faults:
    """The state of what is wrong; the programs' answers go by it."""

    def __init__(
        self, settings: settings_.Settings, book: jobs.Book, tasks: scheduler.Scheduler
    ) -> None:
        self._settings = settings
        self._book = book
        self._tasks = tasks
        self._up = asyncio.Event()
        self._up.set()
        self.is_paused = False
        self.booted_at = time.time() - settings.up_seconds
        self.lie = ""
        self.refusals: collections.deque[str] = collections.deque()
        self.takings: collections.deque[bool] = collections.deque()
        """For each of the next submissions that it takes and does not say so: whether it hangs."""
        self.submissions: list[dict[str, Any]] = []
        self.calls: list[list[str]] = []

    async def is_answering(self, *, patience_seconds: float | None) -> bool:
        """Wait until the controller answers; not for longer than that, unless it is paused."""
        if self._up.is_set():
            return True
        while not self._up.is_set():
            if self.is_paused or patience_seconds is None:
                await self._up.wait()
                continue
            try:
                await asyncio.wait_for(self._up.wait(), patience_seconds)
            except TimeoutError:
                return self._up.is_set()
        # Whoever went away before it was up is seen to have gone, and is not served.
        await asyncio.sleep(_BREATH_SECONDS)
        return True

    @property
    def is_up(self) -> bool:
        """It neither is down nor paused."""
        return self._up.is_set()

    def ask(self, method: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - as JSON has it
        """What the test asked for, by the name of one of the methods below."""
        return getattr(self, f"ask_{method}")(**arguments)

    def ask_ready(self) -> None:
        """It listens."""

    def ask_down(self) -> None:
        self.is_paused = False
        self._tasks.is_down = True
        self._up.clear()

    def ask_pause(self) -> None:
        self.is_paused = True
        self._tasks.is_down = True
        self._up.clear()

    def ask_up(self) -> None:
        if not self._up.is_set() and not self.is_paused:
            self.booted_at = time.time()
        self.is_paused = False
        self._up.set()
        self._tasks.is_down = False
        self._tasks.wake()

    def ask_lie(self, kind: str) -> None:
        self.lie = kind

    def ask_refuse(self, reason: str, times: int) -> None:
        self.refusals.extend([reason] * times)

    def ask_take_but_fail(self, hangs: bool) -> None:  # noqa: FBT001 - it comes by keyword
        self.takings.append(hangs)

    def ask_hold(self) -> None:
        self._tasks.is_held = True

    def ask_release(self) -> None:
        self._tasks.is_held = False
        self._tasks.wake()

    def ask_lose(self, name: str) -> int:
        found = [array for array in self._book.arrays.values() if array.name == name]
        for array in found:
            self._book.forget(array)
        return len(found)

    def ask_crash(self, within_seconds: float, give_ids_again: bool) -> list[int]:  # noqa: FBT001 - it comes by keyword
        self.booted_at = time.time()
        since = self.booted_at - within_seconds
        found = [array for array in self._book.arrays.values() if array.submitted_at >= since]
        for array in found:
            self._book.forget(array)
        if found and give_ids_again:
            self._book.next_id = min(array.id for array in found)
        return [array.id for array in found]

    def ask_restart(self, ago_seconds: float) -> None:
        self.booted_at = time.time() - ago_seconds

    def ask_end(self, job_id: str, state: str) -> None:
        found = self._find(job_id)
        if state == "CANCELLED":
            self._tasks.cancel(found, [job_id])
            return
        for task in found:
            if state == "NODE_FAIL" and task.pid is not None:
                self._tasks.fail_node(task)
            else:
                self._tasks.stop(task, state)

    def ask_suspend(self, job_id: str) -> None:
        for task in self._find(job_id):
            self._tasks.suspend(task)

    def ask_resume(self, job_id: str) -> None:
        for task in self._find(job_id):
            self._tasks.resume(task)

    def ask_calls(self) -> list[list[str]]:
        return self.calls

    def ask_submissions(self) -> list[dict[str, Any]]:
        return self.submissions

    def ask_tasks(self) -> list[dict[str, Any]]:
        return [
            {
                "id": task.id,
                "name": task.array.name,
                "state": jobs.shown_state(task),
                "node": task.node,
                "pid": task.pid,
            }
            for task in self._book.tasks()
        ]

    def _find(self, word: str) -> list[jobs.Task]:
        found = self._book.named(word)
        if not found or any(task.is_ended for task in found):
            raise ValueError(f"no such task that has not ended: {word}")
        return found
