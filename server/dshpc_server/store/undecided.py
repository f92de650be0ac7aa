"""The store's values about rows that wait for others before they can be looked up.

They go over the store's port (`store.port`) as those of `store.records` do.
"""

import dataclasses
import datetime
from collections.abc import Collection, Mapping, Sequence

from dshpc_server.domain import lookup
from dshpc_server.domain.dependencies import Condition, End
from dshpc_server.domain.job import AttemptKey, Resources


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """Something that a row waits for: a row of its own batch, or a chain of attempts."""

    upstream_index: int | None = None
    upstream_chain: AttemptKey | None = None
    """The first attempt of the chain; given if and only if it is no row."""
    condition: Condition
    input_name: str = ""
    """The input that the other's output becomes; empty when it only has to have ended. Given, the
    condition is SUCCEEDED."""
    upstream_name: str
    """What people call it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """What a row is to run once it can be looked up."""

    config_index: int
    """Position of its config in the request."""
    method_name: str
    function_hash: str
    inputs: Mapping[str, str]
    """Content hash by input name: of those inputs that are known."""
    parameters_json: str
    resources: Resources
    timeout_seconds: float
    policy: lookup.Policy


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Upstreams:
    """What has ended, or may have: runs, rows, and whatever the rows of a batch wait for."""

    job_ids: Collection[str] = frozenset()
    rows: Mapping[str, Collection[int]] = dataclasses.field(default_factory=dict)
    """Indexes by batch."""
    batch_ids: Collection[str] = frozenset()
    """Batches whose rows wait, for whatever it is."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A row that is skipped, and why."""

    batch_id: str
    index: int
    upstream_name: str
    """What it would have needed."""
    condition: Condition
    end: End
    """How that ended."""
    at: datetime.datetime
    """When it was skipped."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A row whose dependencies are met."""

    batch_id: str
    index: int
    head: bytes
    priority: int | None
    """Its own; None: as its batch has."""
    plan: Undecided
    """With all its inputs."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What followed from the end of what was waited for."""

    skipped: Mapping[str, Sequence[int]]
    """The rows that were skipped: indexes by batch."""
    ready: Sequence[Ready]
    """Rows that can be looked up now, these and others."""
    has_more: bool
    """More of those that wait are to be told: to be settled again."""
