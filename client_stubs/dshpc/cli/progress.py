"""Progress on stderr: a live bar on a terminal, plain lines elsewhere, or nothing."""

import contextlib
import sys
import time
import types
from collections.abc import Callable
from typing import Self

from rich import progress
from rich.text import Text

from dshpc.cli import terminal
from dshpc.cli.tally import Tally
from dshpc.client import UploadProgress

_LINE_INTERVAL_SECONDS = 5.0
_UPLOADING = "uploading"


class Silent:
    """Shows nothing; the others show more. A block that is left, shows nothing any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        pass

    def uploading(self, upload: UploadProgress) -> None:
        """Show how far the upload is."""

    def running(self, tally: Tally) -> None:
        """Show how far the batch is."""

    def say(self, sentence: str) -> None:
        """Write one line to stderr, beside the progress."""
        terminal.note(sentence)


class Lines(Silent):
    """A line now and then, for logs."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next_at: dict[str, float] = {}

    def uploading(self, upload: UploadProgress) -> None:
        """Write a line when the last one is old."""
        if self._is_due("upload"):
            self.say(
                f"uploading: {upload.files_done}/{terminal.counted(upload.files_total, 'file')}, "
                f"{terminal.size(upload.bytes_done)} of {terminal.size(upload.bytes_total)}"
            )

    def running(self, tally: Tally) -> None:
        """Write a line when the last one is old, and a last one."""
        if self._is_due("jobs") or tally.done == tally.total:
            self.say(f"{tally.done}/{terminal.counted(tally.total, 'job')}: {_counts(tally)}")

    def _is_due(self, what: str) -> bool:
        now = self._monotonic()
        if now < self._next_at.get(what, now):
            return False
        self._next_at[what] = now + _LINE_INTERVAL_SECONDS
        return True


class Bar(Silent):
    """A live bar; it vanishes when the block is left, also by Ctrl-C."""

    def __init__(self) -> None:
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[amount]}", markup=False),
            progress.TextColumn("{task.fields[counts]}", markup=False),
            _Rate(),
            progress.TimeElapsedColumn(),
            console=terminal.console_on(sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: progress.TaskID | None = None
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._exits.enter_context(self._progress)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._exits.close()

    def uploading(self, upload: UploadProgress) -> None:
        """Move the bar by bytes."""
        amount = f"{terminal.size(upload.bytes_done)} of {terminal.size(upload.bytes_total)}"
        counts = f"{upload.files_done}/{terminal.counted(upload.files_total, 'file')}"
        self._show(_UPLOADING, upload.bytes_done, upload.bytes_total, amount, counts)
        if upload.files_done == upload.files_total:
            self._forget()

    def running(self, tally: Tally) -> None:
        """Move the bar by jobs."""
        amount = f"{tally.done}/{tally.total}"
        self._show("jobs", tally.done, tally.total, amount, _counts(tally))

    def say(self, sentence: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(terminal.shown(sentence), soft_wrap=True)

    def _show(self, what: str, done: int, total: int, amount: str, counts: str) -> None:
        if self._task is None:
            # What was done before counts for the bar and not for the rate.
            self._task = self._progress.add_task(
                what, total=total, completed=done, amount="", counts=""
            )
        self._progress.update(self._task, completed=done, amount=amount, counts=counts)

    def _forget(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class _Rate(progress.ProgressColumn):
    """Jobs or bytes a second over the last moments."""

    def render(self, task: progress.Task) -> Text:
        """Return the rate, when one is known."""
        if not task.speed:
            return Text("")
        if task.description == _UPLOADING:
            return Text(f"{terminal.size(round(task.speed))}/s")
        return Text(f"{task.speed:.1f}/s" if task.speed < 100 else f"{task.speed:.0f}/s")


def chosen(*, wanted: bool | None, is_quiet: bool, is_stdout_shared: bool) -> Silent:
    """Return the display for this run: `wanted` is None when the terminal decides.

    `is_stdout_shared`: lines go to stdout meanwhile, where a bar on the same terminal would be in
    their way.
    """
    if is_quiet or wanted is False:
        return Silent()
    has_terminal = sys.stderr.isatty()
    if has_terminal and not (is_stdout_shared and sys.stdout.isatty()):
        return Bar()
    return Lines() if wanted else Silent()


def _counts(tally: Tally) -> str:
    running = f", {tally.running} running" if tally.running else ""
    return f"{tally.completed} completed{running}, {tally.failed} failed"
