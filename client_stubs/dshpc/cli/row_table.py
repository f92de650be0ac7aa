"""A table of a batch's rows: a row a line, what is wrong first, cut to the width."""

import dataclasses
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from dshpc.cli import terminal

MOST_ROWS = 50
MOST_CHARACTERS = 200
"""Of the last column; what is shown of it depends on the width."""
FAILED, UNDONE, COMPLETED = range(3)
"""The ranks of rows, in the order of the table."""

_NEVER_CUT = frozenset({"#", "status", "decision", "time"})
_LEAST_CHARACTERS = 10
_STYLES = ("red", "yellow", "green")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What the table shows of a row; the rest is not kept."""

    rank: int
    index: int
    cells: tuple[str, ...]
    """The columns after the index: a name, what the rank colours, others."""


def show(headings: Sequence[str], unordered: Sequence[Line], *, shows_all: bool) -> None:
    """Write the rows to stdout, those that are not completed first."""
    lines = sorted(unordered, key=lambda line: (line.rank, line.index))
    shown = lines if shows_all else lines[:MOST_ROWS]
    console = terminal.console_on(sys.stdout)
    if shown:
        _print_lines(console, (">#", *headings), shown)
    if left_out := lines[len(shown) :]:
        console.print(_left_out(left_out), soft_wrap=True)


def _print_lines(console: Console, headings: Sequence[str], lines: Sequence[Line]) -> None:
    """Print a row a line: what does not fit into the width is cut from the last column.

    In a width that is too narrow even so, names and outcomes are cut too.
    """
    rows = [_cells(line) for line in lines]
    taken = sum(max(len(row[column]) + 2 for row in rows) for column in range(len(headings) - 1))
    table = terminal.new_table(*headings)
    for column in table.columns:
        column.no_wrap = column.header in _NEVER_CUT
    for row in rows:
        row[-1].truncate(max(console.width - taken, _LEAST_CHARACTERS), overflow="ellipsis")
        table.add_row(*row)
    console.print(table)


def _cells(line: Line) -> list[Text]:
    cells = [terminal.shown(text) for text in (str(line.index), *line.cells)]
    for cell in cells:
        cell.no_wrap, cell.overflow = True, "ellipsis"
    cells[2].stylize(_STYLES[line.rank])
    return cells


def _left_out(lines: Sequence[Line]) -> str:
    not_completed = sum(line.rank != COMPLETED for line in lines)
    rest = f"{not_completed} of them not completed" if not_completed else "all completed"
    return f"… and {terminal.counted(len(lines), 'more row')}, {rest}; --all shows them"
