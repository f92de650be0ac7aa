"""Following a batch to its end: results are written as they come, and the exit code is decided.

The exit code is that of the statistics alone. When a stream cannot go on, what was received is
written nevertheless; then, and after Ctrl-C, it is said how to go on.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence

from dshpc.cli import (
    events,
    exit_codes,
    going_on,
    outputs,
    progress,
    report,
    terminal,
    words,
)
from dshpc.cli.tally import Tally
from dshpc.client import CallError, Client, IncompleteStreamError
from dshpc.v1 import job_service_pb2, types_pb2

RESULTS_PER_MESSAGE = 100

Events = Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What is shown of a batch, and how."""

    output: terminal.Output = terminal.Output.TABLE
    shows_transitions: bool = False
    shows_progress: bool | None = None
    """None: when stderr is a terminal."""
    is_quiet: bool = False
    shows_all: bool = False


class Following:
    """A batch, as far as it was told."""

    def __init__(
        self,
        client: Client,
        options: Options,
        *,
        written: outputs.Outputs | None = None,
        ends_with_us: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ends_with_us`: the server cancels the batch when nobody comes back to it."""
        self._client = client
        self._options = options
        self._outputs = written
        self._ends_with_us = ends_with_us
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._batch_id = ""
        self._tally = Tally(0)
        self._statistics: types_pb2.JobStatistics | None = None
        self._is_json = options.output is terminal.Output.JSON
        self._report: report.Report = (
            report.JsonLines()
            if self._is_json
            else report.Table(
                target=client.target, shows_all=options.shows_all, is_quiet=options.is_quiet
            )
        )
        self.display = progress.chosen(
            wanted=options.shows_progress,
            is_quiet=options.is_quiet,
            is_stdout_shared=self._is_json,
        )

    def result(self, ask: Callable[[], None]) -> int:
        """Do what asks and follows, with the display on, and return the exit code."""
        try:
            with self.display:
                ask()
            return self._finished()
        except KeyboardInterrupt:
            return self._interrupted()
        except IncompleteStreamError as error:
            return self._incomplete(error)

    def reporting(self) -> types_pb2.StreamOptions:
        """Return what the stream is to tell."""
        is_watched = type(self.display) is not progress.Silent
        return types_pb2.StreamOptions(
            include_transitions=self._options.shows_transitions or is_watched,
            max_results_per_message=RESULTS_PER_MESSAGE,
        )

    def begin(self) -> None:
        """Count time from now on."""
        self._started_at = self._monotonic()

    def follow(self, stream: Events) -> None:
        """Take events to their end."""
        with contextlib.closing(stream):
            for event in stream:
                self._take_event(event)

    def take_all(
        self,
        batch_id: str,
        statistics: types_pb2.JobStatistics,
        results: Iterable[types_pb2.MultiJobResult],
    ) -> None:
        """Take rows as they stand, whether ended or not."""
        self._batch_id = batch_id
        self._statistics = statistics
        for result in results:
            self._report.take(result)
            if self._outputs is not None:
                self._outputs.take(result)

    def paused(self, error: CallError, seconds: float) -> None:
        """Tell that the stream was cut off and goes on."""
        self.note(f"the stream broke ({error}); going on in {words.duration(seconds)}")

    def note(self, sentence: str) -> None:
        """Write a line to stderr, unless that is to be quiet."""
        if not self._options.is_quiet:
            self.display.say(sentence)

    def _take_event(self, event: job_service_pb2.StreamSimulateJobsResponse) -> None:
        kind = event.WhichOneof("event")
        if kind == "accepted":
            self._batch_id = event.accepted.batch_id
            self._tally = Tally(event.accepted.total_jobs)
            jobs = terminal.counted(self._tally.total, "job")
            known = ", submitted before" if event.accepted.duplicate_request else ""
            self.note(f"batch {self._batch_id}: {jobs}{known}")
        elif kind == "statistics":
            self._statistics = event.statistics
        elif rows := events.rows(event):
            self._take_results(rows)

    def _take_results(self, results: Sequence[types_pb2.MultiJobResult]) -> None:
        for result in results:
            if self._tally.take(result):
                self._report.take(result)
                if self._outputs is not None:
                    self._outputs.take(result)
            elif self._options.shows_transitions:
                self._show_transition(result)
        sys.stdout.flush()
        self.display.running(self._tally)

    def _show_transition(self, result: types_pb2.MultiJobResult) -> None:
        if self._is_json:
            self._report.take(result)
        else:
            name = report.name(result) or str(result.index)
            self.note(f"{name} {words.status(result.new_status)}")

    def _finished(self) -> int:
        statistics = self._statistics
        if statistics is None:  # pragma: no cover
            raise AssertionError("a stream without statistics raises")
        self._report.finish(statistics, batch_id=self._batch_id)
        line = report.summary(statistics, seconds=self._monotonic() - self._started_at)
        if not self._is_json:
            sys.stdout.write(f"{line}\n")
        else:
            self.note(line)
        if self._outputs is not None:
            self._outputs.finish()
            written = terminal.counted(self._outputs.written, "output")
            self.note(f"{written} in {self._outputs.folder}")
        all_completed = statistics.completed_jobs == statistics.total_jobs
        return exit_codes.COMPLETED if all_completed else exit_codes.NOT_COMPLETED

    def _interrupted(self) -> int:
        batch_id, target = self._batch_id, self._client.target
        if self._statistics is not None:
            terminal.note("dshpc: interrupted while the outputs were written")
        elif batch_id and self._ends_with_us:
            terminal.note(
                f"dshpc: interrupted; the server cancels batch {batch_id} shortly, unless somebody "
                f"comes back to it: {going_on.watch(batch_id, target=target)}"
            )
        elif batch_id:
            watch = going_on.watch(batch_id, target=target)
            stop = going_on.stop(batch_id, target=target)
            terminal.note(
                f"dshpc: interrupted; the jobs of batch {batch_id} go on at the server: "
                f"{watch}; {stop}"
            )
        else:
            terminal.note(
                "dshpc: interrupted before the server accepted the batch; "
                "the same command again is safe."
            )
        return exit_codes.INTERRUPTED

    def _incomplete(self, error: IncompleteStreamError) -> int:
        self._report.finish(None, batch_id=self._batch_id)
        sys.stdout.flush()
        watch = going_on.watch(self._batch_id, target=self._client.target)
        terminal.note(
            f"dshpc: incomplete: {self._tally.done} of "
            f"{terminal.counted(self._tally.total, 'job')} reported; {error}. "
            f"The jobs go on at the server: {watch}"
        )
        return exit_codes.INCOMPLETE
