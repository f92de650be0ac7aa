"""What `dshpc run` writes to stdout: JSON lines as results come, or a table at the end."""

import sys
from typing import Protocol

from dshpc.cli import row_table, tally, terminal, tree, words
from dshpc.v1 import types_pb2

_HEADINGS = ("job", "status", "outcome", ">time", "output")
_MOST_LOGS = 3
_CORE_COUNTS = (
    "total_jobs",
    "successful_submissions",
    "failed_submissions",
    "completed_jobs",
    "in_progress_jobs",
    "resubmitted_jobs",
)
_BY_STATUS = {
    "completed_jobs": "completed",
    "in_progress_jobs": "in progress",
    "failed_jobs": "failed",
    "cancelled_jobs": "cancelled",
    "skipped_jobs": "skipped",
    "not_found_jobs": "not found",
    "failed_submissions": "rejected",
}
_BY_OUTCOME = {
    "found_completed_jobs": "found completed",
    "found_in_progress_jobs": "found in progress",
    "submitted_jobs": "submitted",
    "resubmitted_jobs": "resubmitted",
    "kept_failures": "failure kept",
    "withheld_jobs": "withheld",
    "undecided_jobs": "undecided",
}


class Report(Protocol):
    """Takes a batch's results and writes them."""

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Take one result."""
        ...

    def finish(self, statistics: types_pb2.JobStatistics | None, *, batch_id: str) -> None:
        """Write what is left; without statistics the results are not all."""
        ...


class JsonLines:
    """One line a result, at once; the statistics last."""

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Write one result. Its index is always there, also the first one's."""
        terminal.json_line({"index": result.index, **terminal.as_json(result)})

    def finish(self, statistics: types_pb2.JobStatistics | None, *, batch_id: str) -> None:
        """Write the statistics, if there are any."""
        if statistics is not None:
            counts = terminal.as_json(statistics, with_zeros=True)
            terminal.json_line({"statistics": counts, "batchId": batch_id})


class Table:
    """A table and the statistics, at the end. Rows that did not complete come first."""

    def __init__(self, *, target: str, shows_all: bool, is_quiet: bool) -> None:
        self._target = target
        self._shows_all = shows_all
        self._is_quiet = is_quiet
        self._lines: dict[int, row_table.Line] = {}
        self._failed_job_ids: dict[str, None] = {}
        self._why_kept: dict[str, None] = {}

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Keep what the table will show."""
        if self._is_quiet:
            return
        self._lines[result.index] = line = _line(result)
        if line.rank == row_table.FAILED and result.job_id:
            self._failed_job_ids[result.job_id] = None
        if result.outcome == types_pb2.OUTCOME_FAILURE_KEPT:
            self._why_kept[result.message] = None

    def finish(self, statistics: types_pb2.JobStatistics | None, *, batch_id: str) -> None:
        """Write the table, and the statistics if there are any."""
        if self._is_quiet:
            return
        row_table.show(_HEADINGS, list(self._lines.values()), shows_all=self._shows_all)
        console = terminal.console_on(sys.stdout)
        for sentences in (
            _logs(self._target, list(self._failed_job_ids)),
            _kept(list(self._why_kept)),
        ):
            if sentences:
                console.print()
            for sentence in sentences:
                console.print(terminal.shown(sentence), soft_wrap=True)
        if statistics is not None:
            console.print()
            table = terminal.new_table("statistics", ">")
            for name, count in counts(statistics).items():
                table.add_row(name, str(count))
            console.print(table)
            console.print(terminal.shown(f"batch {batch_id}"), soft_wrap=True)
            console.print()


def summary(statistics: types_pb2.JobStatistics, *, seconds: float) -> str:
    """Return one line: `84 jobs: 84 completed (84 found completed) in 0.12 s`."""
    statuses = _named(statistics, _BY_STATUS) or "nothing"
    outcomes = _named(statistics, _BY_OUTCOME)
    decided = f" ({outcomes})" if outcomes else ""
    total = terminal.counted(statistics.total_jobs, "job")
    return f"{total}: {statuses}{decided} in {words.duration(seconds)}"


def _named(statistics: types_pb2.JobStatistics, names: dict[str, str]) -> str:
    counts = ((getattr(statistics, field), word) for field, word in names.items())
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def counts(statistics: types_pb2.JobStatistics) -> dict[str, int]:
    """Return the core counts, and others that are not zero, under the contract's names."""
    found = {name: int(getattr(statistics, name)) for name in _CORE_COUNTS}
    for name in (*_BY_STATUS, *_BY_OUTCOME):
        if count := int(getattr(statistics, name)):
            found[name] = count
    return found


def _line(result: types_pb2.MultiJobResult) -> row_table.Line:
    is_completed = result.new_status == types_pb2.JOB_STATUS_COMPLETED
    has_job = result.new_status != types_pb2.JOB_STATUS_UNSPECIFIED
    outcome = words.outcome(result.outcome)
    return row_table.Line(
        rank=_rank(result),
        index=result.index,
        cells=(
            name(result),
            words.status(result.new_status) if has_job else outcome.replace("_", " "),
            outcome.lower().replace("_", " ") if has_job else "",
            words.run_time(result),
            _output(result) if is_completed else problem(result),
        ),
    )


def _rank(result: types_pb2.MultiJobResult) -> int:
    if result.new_status == types_pb2.JOB_STATUS_COMPLETED:
        return row_table.COMPLETED
    is_unknown = result.outcome == types_pb2.OUTCOME_NOT_FOUND
    has_failed = tally.has_ended(result) and not is_unknown
    return row_table.FAILED if has_failed else row_table.UNDONE


def name(result: types_pb2.MultiJobResult) -> str:
    """Return what people call a row: its config_id, else its method and file; and its number."""
    called = result.config_id or f"{result.method_name} {result.file_hash[:12]}".strip()
    return f"{called}[{result.sweep_index}]" if result.HasField("sweep_index") else called


def problem(result: types_pb2.MultiJobResult) -> str:
    """Return how a row failed: the exit, and the last line of what the method said."""
    lines = (result.error.message or result.message).strip().splitlines()
    last = lines[-1].strip() if lines else ""
    exit_words = words.exit_of(result)
    if exit_words and exit_words not in last:
        last = f"{exit_words}: {last}" if last else exit_words
    return last[: row_table.MOST_CHARACTERS]


def _output(result: types_pb2.MultiJobResult) -> str:
    if not result.HasField("output"):
        return f"({terminal.size(result.output_size_bytes)}, {result.output_hash[:12]})"
    # The beginning is enough, also of an output of a mebibyte.
    shown = result.output[: 10 * row_table.MOST_CHARACTERS].split()
    return " ".join(shown)[: row_table.MOST_CHARACTERS] if shown else "(empty)"


def _logs(target: str, job_ids: list[str]) -> list[str]:
    """Return the commands that show why jobs failed."""
    if not job_ids:
        return []
    found = [tree.command_line(target, "job", "log", job_id) for job_id in job_ids[:_MOST_LOGS]]
    left = len(job_ids) - len(found)
    if left:
        found.append(f"… and {left} more; --output json shows the jobId of each")
    return ["what failed jobs wrote:", *found]


def _kept(reasons: list[str]) -> list[str]:
    """Return why jobs that failed before were not run again, and how they are."""
    if not reasons:
        return []
    return ["what was not run again ('--cache refresh' runs it anew):", *reasons]
