"""What `dshpc run` writes to stdout: JSON lines as results come, or a table at the end."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.text import Text

from dshpc.cli import tally, terminal
from dshpc.v1 import types_pb2

TABLE_ROWS = 50
_HEADINGS = (">#", "job", "status", "outcome", ">time", "output")
_NEVER_CUT = ("#", "status", "time")
_LEAST_CHARACTERS = 10
_MOST_CHARACTERS = 200
"""Of an output or a problem; what is shown of it depends on the width."""
_FAILED, _IN_PROGRESS, _COMPLETED = range(3)
_STYLES = ("red", "yellow", "green")
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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """What the table shows of a result; the rest is not kept."""

    rank: int
    """_FAILED, _IN_PROGRESS or _COMPLETED: the order of the table."""
    index: int
    name: str
    status: str
    outcome: str
    time: str
    detail: str


class Table:
    """A table and the statistics, at the end. Rows that did not complete come first."""

    def __init__(self, *, shows_all: bool, is_quiet: bool) -> None:
        self._shows_all = shows_all
        self._is_quiet = is_quiet
        self._lines: dict[int, _Line] = {}

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Keep what the table will show."""
        if not self._is_quiet:
            self._lines[result.index] = _line(result)

    def finish(self, statistics: types_pb2.JobStatistics | None, *, batch_id: str) -> None:
        """Write the table, and the statistics if there are any."""
        if self._is_quiet:
            return
        console = terminal.console_on(sys.stdout)
        lines = sorted(self._lines.values(), key=lambda line: (line.rank, line.index))
        shown = lines if self._shows_all else lines[:TABLE_ROWS]
        if shown:
            _print_lines(console, shown)
        if left_out := lines[len(shown) :]:
            console.print(_left_out(left_out), soft_wrap=True)
        if statistics is not None:
            console.print()
            table = terminal.new_table("statistics", ">")
            for name, count in _counts(statistics).items():
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
    return f"{total}: {statuses}{decided} in {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _named(statistics: types_pb2.JobStatistics, names: dict[str, str]) -> str:
    counts = ((getattr(statistics, field), word) for field, word in names.items())
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _counts(statistics: types_pb2.JobStatistics) -> dict[str, int]:
    """Return the core counts, and others that are not zero, under the contract's names."""
    found = {name: int(getattr(statistics, name)) for name in _CORE_COUNTS}
    for name in (*_BY_STATUS, *_BY_OUTCOME):
        if count := int(getattr(statistics, name)):
            found[name] = count
    return found


def _line(result: types_pb2.MultiJobResult) -> _Line:
    is_completed = result.new_status == types_pb2.JOB_STATUS_COMPLETED
    is_rejected = result.new_status == types_pb2.JOB_STATUS_UNSPECIFIED
    outcome = outcome_name(result.outcome)
    in_progress_or_failed = _FAILED if tally.has_ended(result) else _IN_PROGRESS
    return _Line(
        rank=_COMPLETED if is_completed else in_progress_or_failed,
        index=result.index,
        name=result.config_id or f"{result.method_name} {result.file_hash[:12]}".strip(),
        status=outcome if is_rejected else status_name(result.new_status),
        outcome=outcome.lower().replace("_", " "),
        time=_run_time(result),
        detail=_output(result) if is_completed else _problem(result),
    )


def status_name(status: types_pb2.JobStatus.ValueType) -> str:
    """Return a status as people say it; a newer server's unknown one as its number."""
    names = types_pb2.JobStatus
    known = status in names.values()
    return names.Name(status).removeprefix("JOB_STATUS_") if known else str(status)


def outcome_name(outcome: types_pb2.Outcome.ValueType) -> str:
    """Return an outcome as people say it; a newer server's unknown one as its number."""
    names = types_pb2.Outcome
    known = outcome in names.values()
    return names.Name(outcome).removeprefix("OUTCOME_") if known else str(outcome)


def _run_time(result: types_pb2.MultiJobResult) -> str:
    if not (result.HasField("start_time") and result.HasField("end_time")):
        return ""
    return duration((result.end_time.ToNanoseconds() - result.start_time.ToNanoseconds()) / 1e9)


def _output(result: types_pb2.MultiJobResult) -> str:
    if not result.HasField("output"):
        return f"({terminal.size(result.output_size_bytes)}, {result.output_hash[:12]})"
    # The beginning is enough, also of an output of a mebibyte.
    words = result.output[: 10 * _MOST_CHARACTERS].split()
    return " ".join(words)[:_MOST_CHARACTERS] if words else "(empty)"


def _problem(result: types_pb2.MultiJobResult) -> str:
    """Return how a row failed: the exit, and the last line of what the method said."""
    lines = (result.error.message or result.message).strip().splitlines()
    last = lines[-1].strip() if lines else ""
    exit_words = ""
    if result.HasField("signal"):
        exit_words = f"signal {result.signal}"
    elif result.HasField("exit_code"):
        exit_words = f"exit code {result.exit_code}"
    if exit_words and exit_words not in last:
        last = f"{exit_words}: {last}" if last else exit_words
    return last[:_MOST_CHARACTERS]


def _print_lines(console: Console, lines: Sequence[_Line]) -> None:
    """Print a row a line: what does not fit into the width is cut from the last column.

    In a width that is too narrow even so, names and outcomes are cut too.
    """
    rows = [_cells(line) for line in lines]
    taken = sum(max(len(row[column]) + 2 for row in rows) for column in range(len(_HEADINGS) - 1))
    table = terminal.new_table(*_HEADINGS)
    for column in table.columns:
        column.no_wrap = column.header in _NEVER_CUT
    for row in rows:
        row[-1].truncate(max(console.width - taken, _LEAST_CHARACTERS), overflow="ellipsis")
        table.add_row(*row)
    console.print(table)


def _cells(line: _Line) -> list[Text]:
    texts = (str(line.index), line.name, line.status, line.outcome, line.time, line.detail)
    cells = [terminal.shown(text) for text in texts]
    for cell in cells:
        cell.no_wrap, cell.overflow = True, "ellipsis"
    cells[_HEADINGS.index("status")].stylize(_STYLES[line.rank])
    return cells


def _left_out(lines: list[_Line]) -> str:
    not_completed = sum(line.rank != _COMPLETED for line in lines)
    rest = f"{not_completed} of them not completed" if not_completed else "all completed"
    return f"… and {terminal.counted(len(lines), 'more row')}, {rest}; --all shows them"
