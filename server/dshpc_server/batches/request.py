"""What a client asks for, as values: the batch use cases know nothing of messages.

`transport` makes these from a request; `batches.resolver` turns them into what the store accepts.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

from dshpc_server.domain import identity, lookup
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.rejection import Rejection
from dshpc_server.store import records

Config = Callable[[], bytes]
"""Encodes what a row asks for, opaque here; called only of rows that may get no job, or not yet."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """One row's parameters as sent: the value, and its canonical text (equal for equal values)."""

    value: dict[str, identity.Json]
    canonical: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RequestedResources:
    """What a row asks for; 0 means the method's, else the server's default."""

    cpus: int = 0
    memory_bytes: int = 0
    gpus: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """Something that a row waits for: rows of its own request, or a job that is known."""

    rows: range = range(0)
    """Their indexes; each of them is waited for."""
    job_id: str = ""
    """Given if and only if it is no row."""
    chain: int | None = None
    """Which chain of its attempts is meant, by the first of them; None: the newest there is."""
    condition: Condition
    input_name: str = ""
    """The input that the output of the one row, or job, becomes; empty when it only has to have
    ended."""
    name: str
    """What people call it."""
    field: str = ""
    """Where the request speaks of it; empty when what it says was read before."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """One row: a config that was understood."""

    index: int
    """Position in the batch, from 0."""
    config_index: int
    """Position of its config in the request."""
    head: bytes
    """The row's echo, encoded (see `batches.encoding`)."""
    method_name: str
    function_hash: str
    """The version asked for; empty for the newest."""
    inputs: Mapping[str, str]
    """Content hash by input name; what waits for another's output is left out."""
    parameters: Parameters
    resources: RequestedResources
    timeout_seconds: float | None
    """None: the method's, else the server's default."""
    policy: lookup.Policy
    priority: int | None = None
    """From -100 to 100; None: the batch's."""
    upstreams: Sequence[Upstream] = ()
    """What has to have ended before it is looked up."""
    config: Config


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RefusedRow:
    """One row whose config cannot be understood."""

    index: int
    config_index: int
    head: bytes
    rejection: Rejection
    upstreams: Sequence[Upstream] = ()
    """What it says that it comes after."""
    config: Config


class MadeRows(Sequence[JobRequest | RefusedRow]):
    """The rows of a request, each made when it is asked for, and never kept.

    For worker threads: it takes a while for many rows.
    """

    def __init__(
        self, total: int, make: Callable[[int, int], Sequence[JobRequest | RefusedRow]]
    ) -> None:
        """`make` makes the rows from a first one to before a last one."""
        self._total = total
        self._make = make

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[JobRequest | RefusedRow]:
        return iter(self[:])

    @overload
    def __getitem__(self, at: int) -> JobRequest | RefusedRow: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[JobRequest | RefusedRow]: ...
    def __getitem__(
        self, at: int | slice
    ) -> JobRequest | RefusedRow | Sequence[JobRequest | RefusedRow]:
        if isinstance(at, slice):
            first, last, step = at.indices(self._total)
            return self._make(first, last)[::step]
        if not 0 <= at < self._total:
            raise IndexError(at)
        return self._make(at, at + 1)[0]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BatchRequest:
    """A batch as asked for."""

    rows: Sequence[JobRequest | RefusedRow]
    """By index, from 0, without a gap."""
    display_name: str
    priority: int = 0
    """Of rows that do not say, from -100 to 100."""
    upstream_jobs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The known jobs whose newest chain rows wait for: by job_id where the request speaks of it
    first."""
    validate_only: bool = False
    """Say what would happen, and change nothing."""
    name: records.RequestName | None = None
    """Asked again under this name, the same batch is the answer; None for one without a name."""
    max_failures: int = 0
    """Once so many of its jobs have failed the rest is withdrawn; 0 = never."""
    cancel_on_disconnect: bool = False
    """Withdraw it when its caller goes away before the end, and nobody comes back to it."""
