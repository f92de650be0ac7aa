"""The options of a whole batch in a batch file: at its top or, as they are sent, in `options`."""

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from dshpc.cli import fields, policies
from dshpc.cli.batch import Batch, Row
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError

KNOWN = frozenset(
    {
        *("display_name", "request_id", "priority", "cache", "resubmit"),
        *("max_failures", "max_inline_output_bytes", "cancel_on_disconnect"),
    }
)
MAX_INLINE_OUTPUT_BYTES = 1 << 20
MAX_PRIORITY = 100


def read(top: Mapping[str, Json], *, rows: tuple[Row, ...]) -> Batch:
    """Return the batch of these rows with the options that the file gives."""
    options = _given(top)
    batch = Batch(rows=rows)
    for name, (place, value) in options.items():
        batch = dataclasses.replace(batch, **{name: _READ[name](place, value)})
    return batch


def priority(place: str, value: Json) -> int:
    """Return a priority."""
    return fields.count(place, value, minimum=-MAX_PRIORITY, maximum=MAX_PRIORITY)


def request_id(place: str, value: Json) -> str:
    """Return a UUID in the form that the server takes."""
    text = fields.text(place, value)
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise BatchFileError(place, f"{text!r} is not a UUID, as `uuidgen` makes them") from None


def _given(top: Mapping[str, Json]) -> dict[str, tuple[str, Json]]:
    """Return the options that are given, each with its place."""
    inner = fields.members("options", top.get("options") or {}, KNOWN)
    for name in sorted(KNOWN & top.keys() & inner.keys()):
        raise BatchFileError(f"options.{name}", f"'{name}' is given twice")
    outer = {name: (name, top[name]) for name in sorted(KNOWN & top.keys())}
    return outer | {name: (f"options.{name}", value) for name, value in inner.items()}


def _inline_bytes(place: str, value: Json) -> int:
    size_bytes = fields.size_bytes(place, value)
    if size_bytes > MAX_INLINE_OUTPUT_BYTES:
        raise BatchFileError(place, "must be at most 1 MiB: longer outputs are fetched by hash")
    return size_bytes


def _name(place: str, value: Json) -> str:
    return "" if value == "" else fields.text(place, value)


_READ: dict[str, Callable[[str, Json], Any]] = {
    "display_name": _name,
    "request_id": request_id,
    "priority": priority,
    "cache": policies.read_cache,
    "resubmit": policies.read_resubmit,
    "max_failures": fields.count,
    "max_inline_output_bytes": _inline_bytes,
    "cancel_on_disconnect": fields.boolean,
}
"""How each option is read; names are those of `Batch`."""
