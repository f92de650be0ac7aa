"""The fake scancel: ends tasks, or signals them, with what the real one makes of that.

The real one believes that a signal did not arrive where an array has tasks that wait, and sends it
again and again for a minute and a half, to ten tasks at a time; so does this one.
"""

import asyncio
import signal
from collections.abc import Iterator, Sequence

from support import fake_slurm_answers as answers
from support import fake_slurm_jobs as jobs
from support import fake_slurm_scheduler as scheduler
from support import fake_slurm_settings as settings_
from support import fake_slurm_wire as wire
from support import fake_slurm_words as words_

_FILTERS = {"me", "name", "partition", "state", "user"}
_TRIES = 10
_THREADS = 10
_LATER = "Job can not be altered now, try again later"
_LATER_CODE = 228
_UNKNOWN = "Invalid job id specified"


class Cancelling:
    """What scancel does once the controller is reached."""

    def __init__(
        self, settings: settings_.Settings, book: jobs.Book, tasks: scheduler.Scheduler
    ) -> None:
        self._settings = settings
        self._book = book
        self._tasks = tasks

    async def answer(self, words: words_.Words) -> wire.Answer:
        """Do what was asked for; the words are as `check` found them in order."""
        unknown = [word for word in words.rest if not self._live(word)]
        if words.rest:
            found = [task for word in words.rest for task in self._live(word)]
        else:
            found = [task for task in self._book.tasks() if not task.is_ended]
        if _FILTERS & words.options.keys():
            chosen = set(answers.chosen(self._book, words.options))
            found = [task for task in found if task in chosen]
        if "signal" in words.options:
            return await self._signal(found, words, unknown)
        # What a filter chose is cancelled task by task.
        self._tasks.cancel(found, () if _FILTERS & words.options.keys() else words.rest)
        return wire.Answer()

    async def _signal(
        self, found: list[jobs.Task], words: words_.Words, unknown: list[str]
    ) -> wire.Answer:
        number = _number(words.options["signal"])
        errors = [(word, _UNKNOWN) for word in unknown]
        code = 1 if unknown else 0
        for some in _turns(found):
            doubted = await self._send_all(some, number, is_full="full" in words.options)
            errors += [(task.id, _LATER) for task in doubted]
            code = _LATER_CODE if doubted else code
        said = "scancel: error: Kill job error on job id {}: {}\n"
        return wire.Answer(error="".join(said.format(*error) for error in errors), code=code)

    async def _send_all(
        self, tasks: Sequence[jobs.Task], number: int, *, is_full: bool
    ) -> list[jobs.Task]:
        """Return those that it gave up on, though they may have had the signal."""
        left = list(tasks)
        for turn in range(_TRIES):
            for task in left:
                self._send(task, number, is_full=is_full)
            left = [task for task in left if _is_in_doubt(task)]
            if not left:
                break
            await asyncio.sleep(self._settings.retry_seconds + turn)
        return left

    def _send(self, task: jobs.Task, number: int, *, is_full: bool) -> None:
        if task.state != jobs.RUNNING:
            return
        if is_full:
            self._tasks.processes.signal_step(task, number)
        else:
            self._tasks.processes.signal(task, number)

    def _live(self, word: str) -> list[jobs.Task]:
        found = self._book.named(word)
        return [task for task in found if not task.is_ended and not task.ending]


def check(words: words_.Words) -> None:
    """Raises WordsError for what scancel does not send."""
    for word in words.rest:
        try:
            words_.job(word)
        except ValueError:
            raise words_.WordsError(f"scancel: error: Invalid job id {word}\n") from None
    if not words.rest and not _FILTERS & words.options.keys():
        raise words_.WordsError("scancel: error: No job identification provided\n")


def _turns(tasks: Sequence[jobs.Task]) -> Iterator[list[jobs.Task]]:
    """What is sent at a time: whatever is in doubt holds one of the threads to the end."""
    turn: list[jobs.Task] = []
    for task in tasks:
        turn.append(task)
        if sum(map(_is_in_doubt, turn)) == _THREADS:
            yield turn
            turn = []
    yield turn


def _is_in_doubt(task: jobs.Task) -> bool:
    return bool(task.array.waiting) or task.state == jobs.SUSPENDED


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    return signal.Signals["SIG" + word.upper().removeprefix("SIG")]
