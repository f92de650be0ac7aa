"""How long a job is expected to run: what its method declares, else what earlier runs have shown.

Promises: what is declared counts before what was seen; what was seen counts once there is enough of
it, and is what nine of ten of the last runs of the same version kept within, so that a few that
hung or were very short change little. It is this server's own memory, of bounded size, and starts
empty with the server: whoever goes by it must do well without.
"""

import collections
import math
from collections.abc import Callable

from dshpc_server.domain.job import Basis, JobStatus, RunTime
from dshpc_server.methods.method import MethodVersion
from dshpc_server.store import records

LEAST_RUNS = 5
"""So many must have been seen."""
LAST_RUNS = 50
"""So many of the newest count."""
_SHARE = 0.9
_MOST_VERSIONS = 1000
"""Of so many versions runs are remembered, 0.5 MB; the one that ran longest ago is forgotten."""


class RunTimes:
    """Remembers how long completed runs took. For the event loop's thread alone."""

    def __init__(self, *, on_observed: Callable[[], None]) -> None:
        """`on_observed` is told when there is a version more that enough was seen of."""
        self._on_observed = on_observed
        self._observed: frozenset[str] = frozenset()
        self._seen: collections.OrderedDict[str, collections.deque[float]] = (
            collections.OrderedDict()
        )
        """Seconds of the last runs by function_hash, the version that ran last at the end."""

    def note(self, attempt: records.Attempt) -> None:
        """Take note of an attempt that has ended, if it completed."""
        if attempt.status is not JobStatus.COMPLETED:
            return
        if attempt.started_at is None or attempt.ended_at is None:
            return
        runs = self._seen.setdefault(attempt.function_hash, collections.deque(maxlen=LAST_RUNS))
        runs.append((attempt.ended_at - attempt.started_at).total_seconds())
        self._seen.move_to_end(attempt.function_hash)
        if len(self._seen) > _MOST_VERSIONS:
            self._observed -= {self._seen.popitem(last=False)[0]}
        if len(runs) >= LEAST_RUNS and attempt.function_hash not in self._observed:
            self._observed |= {attempt.function_hash}
            self._on_observed()

    @property
    def observed(self) -> frozenset[str]:
        """The versions, by function_hash, that enough was seen of. In any thread."""
        return self._observed

    def expected(self, version: MethodVersion) -> RunTime | None:
        """How long a run of this version will take; None when nobody knows."""
        if version.expected_seconds is not None:
            return RunTime(seconds=version.expected_seconds, basis=Basis.DECLARED)
        if version.function_hash not in self._observed:
            return None
        runs = self._seen[version.function_hash]
        kept_within = sorted(runs)[math.ceil(_SHARE * len(runs)) - 1]
        return RunTime(seconds=kept_within, basis=Basis.OBSERVED)
