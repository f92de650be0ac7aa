"""The options of a whole batch in a batch file: at its top or, as they are sent, in `options`."""

import dataclasses
from collections.abc import Mapping

from dshpc.cli import fields, policies
from dshpc.cli.batch import Batch, Row
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError

KNOWN = frozenset({"display_name", "cache", "resubmit", "max_inline_output_bytes"})
MAX_INLINE_OUTPUT_BYTES = 1 << 20


def read(top: Mapping[str, Json], *, rows: tuple[Row, ...]) -> Batch:
    """Return the batch of these rows with the options that the file gives."""
    options = _given(top)
    batch = Batch(rows=rows)
    if (name := options.get("display_name", "")) != "":
        batch = dataclasses.replace(batch, display_name=fields.text("display_name", name))
    if "cache" in options:
        batch = dataclasses.replace(batch, cache=policies.read_cache("cache", options["cache"]))
    if "resubmit" in options:
        resubmit = policies.read_resubmit("resubmit", options["resubmit"])
        batch = dataclasses.replace(batch, resubmit=resubmit)
    if "max_inline_output_bytes" in options:
        size_bytes = _inline_bytes(options["max_inline_output_bytes"])
        batch = dataclasses.replace(batch, max_inline_output_bytes=size_bytes)
    return batch


def _given(top: Mapping[str, Json]) -> dict[str, Json]:
    inner = fields.members("options", top.get("options") or {}, KNOWN)
    for name in sorted(KNOWN & top.keys() & inner.keys()):
        raise BatchFileError(f"options.{name}", f"'{name}' is given twice")
    return {name: top[name] for name in KNOWN & top.keys()} | inner


def _inline_bytes(value: Json) -> int:
    place = "max_inline_output_bytes"
    size_bytes = fields.size_bytes(place, value)
    if size_bytes > MAX_INLINE_OUTPUT_BYTES:
        raise BatchFileError(place, "must be at most 1 MiB: longer outputs are fetched by hash")
    return size_bytes
