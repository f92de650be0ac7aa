"""`dshpc run --check`: what would become of a batch. Nothing is uploaded, submitted or changed.

The server rejects a row whose input it lacks only when nothing else is wrong with it. Where what is
lacking are files of this side, `dshpc run` would upload them first: such a row is not counted as
rejected here.
"""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

from google.rpc import error_details_pb2

from dshpc.cli import events, exit_codes, report, row_table, terminal, words
from dshpc.cli.batch import Batch, Positions
from dshpc.client import Client, files
from dshpc.v1 import types_pb2

_HEADINGS = ("job", "decision", "why")
_FILE_NOT_FOUND = "FILE_NOT_FOUND"
_AFTER_UPLOAD = "AFTER_UPLOAD"
_RESULTS_PER_MESSAGE = 100
_KEPT_WORK = frozenset({types_pb2.OUTCOME_FOUND_COMPLETED, types_pb2.OUTCOME_FOUND_IN_PROGRESS})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of `dshpc run` that count here."""

    output: terminal.Output = terminal.Output.TABLE
    is_quiet: bool = False
    shows_all: bool = False


def check(client: Client, batch: Batch, options: Options) -> int:
    """Ask what would happen, write it, and return the exit code."""
    local = {path: files.read(path) for path in batch.paths()}
    hashes = {path: file.file_hash for path, file in local.items()}
    lacking = set(client.find_missing(_all_hashes(batch, hashes)))
    found = _Check(batch, hashes, lacking, options)
    asked = batch.options()
    asked.validate_only = True
    stream = client.stream(
        [row.config(hashes) for row in batch.rows],
        options=asked,
        display_name=batch.display_name,
        until=types_pb2.UNTIL_RESOLVED,
        reporting=types_pb2.StreamOptions(max_results_per_message=_RESULTS_PER_MESSAGE),
    )
    with contextlib.closing(stream):
        for event in stream:
            for result in events.rows(event):
                found.take(result)
    to_send = [file for file in local.values() if file.file_hash in lacking]
    return found.finish(to_send)


def _all_hashes(batch: Batch, hashes: dict[pathlib.Path, str]) -> list[str]:
    sources = (source for row in batch.rows for source in row.sources())
    return [hashes[s] if isinstance(s, pathlib.Path) else s for s in sources]


class _Check:
    """Takes the server's answers and writes what they mean here."""

    def __init__(
        self, batch: Batch, hashes: dict[pathlib.Path, str], lacking: set[str], options: Options
    ) -> None:
        self._positions = Positions(batch.rows)
        self._hashes = hashes
        self._lacking = lacking
        self._options = options
        self._lines: list[row_table.Line] = []
        self._decisions: dict[str, int] = {}
        self._rejected = 0

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Count a row and write or keep it."""
        paths = self._to_upload(result)
        decision = _AFTER_UPLOAD if paths else words.outcome(result.outcome)
        self._decisions[decision] = self._decisions.get(decision, 0) + 1
        is_rejected = result.outcome == types_pb2.OUTCOME_REJECTED and not paths
        self._rejected += is_rejected
        if self._options.output is terminal.Output.JSON:
            needs = {"needsUpload": [str(path) for path in paths]} if paths else {}
            terminal.json_line({"index": result.index, **terminal.as_json(result), **needs})
            return
        self._lines.append(
            row_table.Line(
                rank=row_table.FAILED if is_rejected else _rank(result),
                index=result.index,
                cells=(report.name(result), _shown(decision), _why(result, paths)),
            )
        )

    def finish(self, to_send: Sequence[files.LocalFile]) -> int:
        """Write what is left and return the exit code."""
        decided = ", ".join(f"{n} {_shown(word).lower()}" for word, n in self._decisions.items())
        uploads = ""
        if to_send:
            size = terminal.size(sum(file.size_bytes for file in to_send))
            uploads = f"; {terminal.counted(len(to_send), 'file')} ({size}) to upload"
        total = terminal.counted(sum(self._decisions.values()), "job")
        line = f"checked {total}: {decided or 'nothing'}{uploads}; nothing was changed"
        if self._options.output is terminal.Output.JSON:
            terminal.json_line({"checked": self._decisions})
            if not self._options.is_quiet:
                sys.stdout.flush()
                terminal.note(line)
        else:
            if not self._options.is_quiet:
                row_table.show(_HEADINGS, self._lines, shows_all=self._options.shows_all)
            sys.stdout.write(f"{line}\n")
        return exit_codes.NOT_COMPLETED if self._rejected else exit_codes.COMPLETED

    def _to_upload(self, result: types_pb2.MultiJobResult) -> list[pathlib.Path]:
        """Return the local files that are all that this row lacks."""
        found = self._positions.at(result.index)
        if _reason(result) != _FILE_NOT_FOUND or found is None:
            return []
        row, sweep_index = found
        lacking = [source for source in row.sources_at(sweep_index) if self._lacks(source)]
        paths = [source for source in lacking if isinstance(source, pathlib.Path)]
        return paths if len(paths) == len(lacking) else []

    def _lacks(self, source: pathlib.Path | str) -> bool:
        file_hash = self._hashes[source] if isinstance(source, pathlib.Path) else source
        return file_hash in self._lacking


def _reason(result: types_pb2.MultiJobResult) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in result.error.details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def _shown(decision: str) -> str:
    return decision.replace("_", " ")


def _rank(result: types_pb2.MultiJobResult) -> int:
    return row_table.COMPLETED if result.outcome in _KEPT_WORK else row_table.UNDONE


def _why(result: types_pb2.MultiJobResult, paths: Sequence[pathlib.Path]) -> str:
    if paths:
        return ", ".join(str(path) for path in paths)
    if result.outcome == types_pb2.OUTCOME_FAILURE_KEPT:
        return f"{words.status(result.old_status)}: {report.problem(result)}"
    return result.message or report.problem(result)
