"""`dshpc run`: a batch file in, results out.

Order of things: read the file, upload what the server lacks, ask, write results as they come. The
exit code is decided by the statistics alone.
"""

import contextlib
import dataclasses
import pathlib
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
from dshpc.cli.batch import Batch
from dshpc.cli.tally import Tally
from dshpc.client import Client, IncompleteStreamError
from dshpc.v1 import job_service_pb2, types_pb2

RESULTS_PER_MESSAGE = 100


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of `dshpc run`."""

    output: terminal.Output = terminal.Output.TABLE
    waits: bool = True
    download_folder: pathlib.Path | None = None
    shows_transitions: bool = False
    shows_progress: bool | None = None
    """None: when stderr is a terminal."""
    is_quiet: bool = False
    shows_all: bool = False


def run(
    client: Client,
    batch: Batch,
    options: Options,
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Run a batch and return the exit code."""
    return _Run(client, batch, options, monotonic).result()


class _Run:
    """One run of the command."""

    def __init__(
        self, client: Client, batch: Batch, options: Options, monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._batch = batch
        self._options = options
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._batch_id = ""
        self._tally = Tally(len(batch.rows))
        self._statistics: types_pb2.JobStatistics | None = None
        self._is_json = options.output is terminal.Output.JSON
        self._report: report.Report = (
            report.JsonLines()
            if self._is_json
            else report.Table(
                target=client.target, shows_all=options.shows_all, is_quiet=options.is_quiet
            )
        )
        folder = options.download_folder
        self._outputs = None if folder is None else outputs.Outputs(client, folder, batch.rows)
        self._display = progress.chosen(
            wanted=options.shows_progress,
            is_quiet=options.is_quiet,
            is_stdout_shared=self._is_json,
        )

    def result(self) -> int:
        """Do it all; what was received is written also when the end is not reached."""
        try:
            with self._display:
                configs = self._configs()
                self._started_at = self._monotonic()
                self._ask(configs)
            return self._finished()
        except KeyboardInterrupt:
            return self._interrupted()
        except IncompleteStreamError as error:
            return self._incomplete(error)

    def _configs(self) -> list[types_pb2.JobConfig]:
        """Upload what is missing and return what is sent."""
        uploaded = self._client.upload_missing(self._batch.paths(), self._display.uploading)
        sent = {file.file_hash: file.size_bytes for file in uploaded if file.uploaded}
        if sent:
            size = terminal.size(sum(sent.values()))
            self._note(f"uploaded {terminal.counted(len(sent), 'file')} ({size})")
        hashes = {file.path: file.file_hash for file in uploaded}
        return [row.config(hashes) for row in self._batch.rows]

    def _ask(self, configs: Sequence[types_pb2.JobConfig]) -> None:
        if not self._options.waits:
            self._resolve(configs)
            return
        with contextlib.closing(self._events(configs)) as stream:
            for event in stream:
                self._take_event(event)

    def _events(
        self, configs: Sequence[types_pb2.JobConfig]
    ) -> Generator[job_service_pb2.StreamSimulateJobsResponse, None, None]:
        is_watched = type(self._display) is not progress.Silent
        return self._client.stream(
            configs,
            options=self._batch.options(),
            display_name=self._batch.display_name,
            reporting=types_pb2.StreamOptions(
                include_transitions=self._options.shows_transitions or is_watched,
                max_results_per_message=RESULTS_PER_MESSAGE,
            ),
        )

    def _take_event(self, event: job_service_pb2.StreamSimulateJobsResponse) -> None:
        kind = event.WhichOneof("event")
        if kind == "accepted":
            self._batch_id = event.accepted.batch_id
            self._tally = Tally(event.accepted.total_jobs)
            self._note(f"batch {self._batch_id}: {terminal.counted(self._tally.total, 'job')}")
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
        self._display.running(self._tally)

    def _show_transition(self, result: types_pb2.MultiJobResult) -> None:
        if self._is_json:
            self._report.take(result)
        else:
            name = result.config_id or str(result.index)
            self._note(f"{name} {words.status(result.new_status)}")

    def _resolve(self, configs: Sequence[types_pb2.JobConfig]) -> None:
        """Ask without waiting for jobs; all rows are written, whether ended or not."""
        answer = self._client.run(
            configs, options=self._batch.options(), display_name=self._batch.display_name
        )
        self._batch_id = answer.batch_id
        self._statistics = answer.statistics
        self._report_all(answer.results)
        if answer.next_page_token:
            self._report_all(
                self._client.results(answer.batch_id, page_token=answer.next_page_token)
            )

    def _report_all(self, results: Iterable[types_pb2.MultiJobResult]) -> None:
        for result in results:
            self._report.take(result)
            if self._outputs is not None:
                self._outputs.take(result)

    def _finished(self) -> int:
        statistics = self._statistics
        if statistics is None:  # pragma: no cover
            raise AssertionError("a stream without statistics raises")
        self._report.finish(statistics, batch_id=self._batch_id)
        line = report.summary(statistics, seconds=self._monotonic() - self._started_at)
        if not self._is_json:
            sys.stdout.write(f"{line}\n")
        else:
            self._note(line)
        if self._outputs is not None:
            self._outputs.finish()
            written = terminal.counted(self._outputs.written, "output")
            self._note(f"{written} in {self._options.download_folder}")
        all_completed = statistics.completed_jobs == statistics.total_jobs
        return exit_codes.COMPLETED if all_completed else exit_codes.NOT_COMPLETED

    def _interrupted(self) -> int:
        if self._statistics is not None:
            terminal.note("dshpc: interrupted while the outputs were written")
        elif self._batch_id:
            stop = going_on.stop(self._batch_id, target=self._client.target)
            terminal.note(
                f"dshpc: interrupted; the jobs of batch {self._batch_id} go on at the server: "
                f"{self._results_later()}; {stop}"
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
        terminal.note(
            f"dshpc: incomplete: {self._tally.done} of "
            f"{terminal.counted(self._tally.total, 'job')} reported; {error}. "
            f"The jobs go on at the server: {self._results_later()}"
        )
        return exit_codes.INCOMPLETE

    def _results_later(self) -> str:
        return going_on.results(self._batch, self._batch_id, target=self._client.target)

    def _note(self, sentence: str) -> None:
        if not self._options.is_quiet:
            self._display.say(sentence)
