"""The attempts that were claimed and have not ended: who they are and what they use.

Rebuilt from the store at start; owned by the dispatcher's loop, read by the reconciler.
"""

from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.store import port


class ActiveAttempts:
    """Claims by key, and the sum of what they use. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._claims: dict[AttemptKey, port.Claim] = {}

    def add(self, claim: port.Claim) -> None:
        """Count this attempt as using its resources."""
        self._claims[claim.key] = claim

    def get(self, key: AttemptKey) -> port.Claim | None:
        """The claim of an attempt that has not ended."""
        return self._claims.get(key)

    def remove(self, key: AttemptKey) -> bool:
        """Give back what the attempt used; whether it was active."""
        return self._claims.pop(key, None) is not None

    @property
    def in_use(self) -> Resources:
        """What all of them use together; at most as many as slots, so summing is cheap."""
        claims = self._claims.values()
        return Resources(
            cpus=sum(claim.resources.cpus for claim in claims),
            memory_bytes=sum(claim.resources.memory_bytes for claim in claims),
            gpus=sum(claim.resources.gpus for claim in claims),
        )
