"""Pages of a batch's rows, cut by count and by bytes, so that no row is lost to a message limit."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

from dshpc_server import errors
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.store import port, records

_FIRST_PIECE = 16
"""Rows read first: a page of large rows is cut by bytes, so few of 1 MiB are read in vain."""
_LARGEST_PIECE = 512
"""Each piece is twice the one before, up to this."""
FRAME_BYTES = 6
"""What a row costs in a message beside itself: a tag of 1, a length of at most 5."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which rows are wanted; empty lets all pass."""

    statuses: Collection[JobStatus] = ()
    outcomes: Collection[Outcome] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some rows, encoded, by index."""

    rows: Sequence[bytes]
    next_index: int | None
    """Where to go on; None when these were the last."""


def fitting(rows: Iterable[bytes], max_bytes: int) -> list[bytes]:
    """The first of these rows that fit, at least one: a row over the limit still gets through.

    No row is asked for beyond the first that does not fit.
    """
    taken: list[bytes] = []
    size = 0
    for row in rows:
        size += len(row) + FRAME_BYTES
        if taken and size > max_bytes:
            break
        taken.append(row)
    return taken


def read_page(
    store: port.Reader,
    encode: Callable[[records.Row], bytes],
    batch_id: str,
    *,
    first_index: int,
    max_rows: int,
    max_bytes: int,
    wanted: Filter,
) -> Page:
    """Read a page; raises NotFoundError for an unknown batch."""
    if not store.has_batch(batch_id):
        raise errors.NotFoundError("batch", batch_id)
    taken: list[bytes] = []
    size = 0
    next_index, limit = first_index, _FIRST_PIECE
    while True:
        piece = store.find_rows(
            batch_id,
            first_index=next_index,
            limit=limit,
            statuses=wanted.statuses,
            outcomes=wanted.outcomes,
        )
        for row in piece:
            encoded = encode(row)
            size += len(encoded) + FRAME_BYTES
            if len(taken) == max_rows or (taken and size > max_bytes):
                return Page(rows=taken, next_index=row.index)
            taken.append(encoded)
        if len(piece) < limit:
            return Page(rows=taken, next_index=None)
        next_index, limit = piece[-1].index + 1, min(2 * limit, _LARGEST_PIECE)
