"""Pages of the jobs there are, the newest first, cut by count and by bytes."""

import dataclasses
from collections.abc import Callable, Collection, Sequence

from dshpc_server.batches import results
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import port, records

_FIRST_PIECE = 16
"""Jobs read first: a page of large ones is cut by bytes, so few are read in vain."""
_LARGEST_PIECE = 256
"""Each piece is twice the one before, up to this; the results that come along may hold outputs."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which jobs are wanted; empty lets all pass."""

    statuses: Collection[JobStatus] = ()
    method_name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some jobs, encoded."""

    jobs: Sequence[bytes]
    last: records.ListPosition | None
    """What to go on after; None when these were the last."""


def read_page(
    store: port.Reader,
    encode: Callable[[records.JobRecord], bytes],
    *,
    after: records.ListPosition | None,
    max_jobs: int,
    max_bytes: int,
    wanted: Filter,
) -> Page:
    """Read a page; at least one job, however large, if there is one."""
    taken: list[bytes] = []
    size = 0
    last, piece_size = after, _FIRST_PIECE
    while True:
        limit = min(piece_size, max_jobs - len(taken) + 1)  # one more tells whether more follow
        piece = store.find_jobs(
            after=last, limit=limit, statuses=wanted.statuses, method_name=wanted.method_name
        )
        for record in piece:
            encoded = encode(record)
            size += len(encoded) + results.FRAME_BYTES
            if len(taken) == max_jobs or (taken and size > max_bytes):
                return Page(jobs=taken, last=last)
            taken.append(encoded)
            last = _position(record)
        if len(piece) < limit:
            return Page(jobs=taken, last=None)
        piece_size = min(2 * piece_size, _LARGEST_PIECE)


def _position(record: records.JobRecord) -> records.ListPosition:
    return records.ListPosition(at=record.newest.attempt.created_at, name=record.spec.job_id)
