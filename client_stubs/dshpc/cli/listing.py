"""Lists whose first column is a hash that can be copied whole, whatever the width.

A row is one line where it fits. In a terminal that is too narrow it is two: the hash alone, and
below it the rest. What goes to a file or a pipe is a line a row.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence

from rich import cells
from rich.console import Console
from rich.text import Text

from dshpc.cli import terminal

_GAP = "  "


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A text and its colour."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]


def show(headings: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows to stdout; a heading that begins with `>` is set to the right."""
    console = terminal.console_on(sys.stdout)
    texts = [[_text(cell) for cell in row] for row in rows]
    titles = [Text(heading.removeprefix(">"), style="bold") for heading in headings]
    widths = [max(map(_width, column)) for column in zip(titles, *texts, strict=True)]
    is_bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    if is_bounded and sum(widths) + len(_GAP) * (len(widths) - 1) > console.width:
        _show_in_two_lines(console, headings, texts)
        return
    is_number = [heading.startswith(">") for heading in headings]
    for row in (titles, *texts):
        line = Text()
        for text, width, is_right in zip(row, widths, is_number, strict=True):
            padding = " " * (width - _width(text))
            line.append(_GAP if line else "")
            line.append(padding if is_right else "").append_text(text)
            line.append("" if is_right else padding)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _show_in_two_lines(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[Text]]
) -> None:
    """Print the rest of a row below its hash; numbers, which need it, with their heading."""
    labels = [f"{h.removeprefix('>')} " if h.startswith(">") else "" for h in headings]
    for first, *others in rows:
        console.print(first, soft_wrap=True)
        named = zip(labels[1:], others, strict=True)
        parts = [Text(label).append_text(text) for label, text in named if text]
        rest = Text(_GAP).append_text(Text(_GAP).join(parts))
        rest.truncate(console.width, overflow="ellipsis")
        console.print(rest, soft_wrap=True)


def _text(cell: Cell | str) -> Text:
    if isinstance(cell, str):
        return terminal.shown(cell)
    return terminal.shown(cell.text, style=cell.style)


def _width(text: Text) -> int:
    return cells.cell_len(text.plain)
