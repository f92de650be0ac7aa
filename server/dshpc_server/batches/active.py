"""The attempts that were claimed and have not ended: who they are, what they use, what is to stop.

Rebuilt from the store at start; owned by the dispatcher's loop, read by the reconciler. Who is not
here is another server's, or has ended.
"""

from collections.abc import Sequence

from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.store import records


class ActiveAttempts:
    """Claims by key, the sum of what they use, and why some are to be stopped.

    For the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._claims: dict[AttemptKey, records.Claim] = {}
        self._using: dict[AttemptKey, Resources] = {}
        # Their sums, kept at hand: an engine with a queue may have many thousands.
        self._cpus = self._memory_bytes = self._gpus = 0
        self._cancel_reasons: dict[AttemptKey, str] = {}

    def add(self, claim: records.Claim) -> None:
        """Count this attempt as using its resources."""
        self.release(claim.key)
        self._claims[claim.key] = claim
        self._using[claim.key] = claim.resources
        self._count(claim.resources, 1)

    def cancel(self, key: AttemptKey, reason: str) -> None:
        """Note that an attempt is to be stopped; the first reason counts, as in the store.

        One that is not here has ended, or is another server's: whoever claims an attempt here is
        told of it before anybody who cancels it here later.
        """
        if key in self._claims:
            self._cancel_reasons.setdefault(key, reason)

    def cancel_own(self, key: AttemptKey, reason: str) -> None:
        """Do the same for an attempt that the store calls ours, whether it is here or not.

        Another server can have cancelled it before we have the answer to the claim of it.
        """
        self._cancel_reasons.setdefault(key, reason)

    def cancel_reason(self, key: AttemptKey) -> str | None:
        """Why an attempt is to be stopped; None when it is not."""
        return self._cancel_reasons.get(key)

    def get(self, key: AttemptKey) -> records.Claim | None:
        """The claim of an attempt that has not ended."""
        return self._claims.get(key)

    def release(self, key: AttemptKey) -> None:
        """Give back what the attempt used: its process is gone, though its end is not recorded."""
        used = self._using.pop(key, None)
        if used is not None:
            self._count(used, -1)

    def remove(self, key: AttemptKey) -> None:
        """Forget an attempt whose end is recorded."""
        self.release(key)
        self._claims.pop(key, None)
        self._cancel_reasons.pop(key, None)

    @property
    def keys(self) -> Sequence[AttemptKey]:
        """Who is here, in the order they came."""
        return list(self._claims)

    @property
    def in_use(self) -> Resources:
        """What all of them use together."""
        return Resources(cpus=self._cpus, memory_bytes=self._memory_bytes, gpus=self._gpus)

    @property
    def using(self) -> int:
        """How many use something: those that have not ended."""
        return len(self._using)

    def _count(self, resources: Resources, times: int) -> None:
        self._cpus += times * resources.cpus
        self._memory_bytes += times * resources.memory_bytes
        self._gpus += times * resources.gpus
