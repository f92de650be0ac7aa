"""Writing for people and for programs: consoles, JSON lines, and text made safe to show.

Promise: what a server sends never reaches a terminal as an escape code, and no escape code is
written to what is no terminal.
"""

import enum
import json
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from google.protobuf import json_format, message
from rich import console, table, text

_EXACT = 2**53
_WIDE_COLUMNS = 160
"""Width of a table that goes to a file or a pipe; COLUMNS changes it."""


class Output(enum.StrEnum):
    """What is written to stdout."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """JSON lines, with the contract's JSON names."""


def console_on(stream: TextIO) -> console.Console:
    """Return a console; it is plain text unless the stream is a terminal."""
    is_terminal = stream.isatty()
    has_width = is_terminal or "COLUMNS" in os.environ
    return console.Console(
        file=stream,
        force_terminal=is_terminal,
        width=None if has_width else _WIDE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def note(sentence: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"{safe(sentence)}\n")
    sys.stderr.flush()


def safe(value: str) -> str:
    """Return text on one line without control characters."""
    return "".join(c if c.isprintable() else " " for c in value)


def shown(value: str, *, style: str = "") -> text.Text:
    """Return text for a table cell, taken literally."""
    return text.Text(safe(value), style=style)


def new_table(*headings: str) -> table.Table:
    """Return an empty table; a heading that begins with `>` is set to the right."""
    found = table.Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        is_number = heading.startswith(">")
        found.add_column(heading.removeprefix(">"), justify="right" if is_number else "left")
    return found


def json_line(value: Mapping[str, object]) -> None:
    """Write one JSON object as a line to stdout."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_unicode) + "\n")


def as_json(value: message.Message, *, with_zeros: bool = False) -> dict[str, object]:
    """Return a message under the contract's JSON names; `with_zeros` prints unset counts too."""
    found = json_format.MessageToDict(value, always_print_fields_with_no_presence=with_zeros)
    names = (field.json_name for field in value.DESCRIPTOR.fields)
    return {name: _with_integers(found[name]) for name in names if name in found}


def size(size_bytes: int) -> str:
    """Return a size for people."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def counted(number: int, noun: str) -> str:
    """Return `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plain_value(value: message.Message) -> object:
    """Return what a Struct or a Value stands for."""
    return _with_integers(json_format.MessageToDict(value))


def _with_integers(value: object) -> object:
    """Write doubles without a fraction as integers, as they were most likely given."""
    if isinstance(value, dict):
        return {key: _with_integers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Write names and values to stdout, one a line; empty values are left out."""
    out = console_on(sys.stdout)
    present = {name: value for name, value in pairs.items() if value}
    width = max(map(len, present))
    for name, value in present.items():
        first, *rest = value.splitlines() or [""]
        out.print(shown(f"{name:<{width}}  {first}"), soft_wrap=True)
        for line in rest:
            out.print(shown(f"{'':<{width}}  {line}"), soft_wrap=True)
