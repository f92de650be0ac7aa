"""The attempts that were claimed and have not ended: who they are and what they use.

Rebuilt from the store at start; owned by the dispatcher's loop, read by the reconciler.
"""

from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.store import port


class ActiveAttempts:
    """Claims by key, and the sum of what they use. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._claims: dict[AttemptKey, port.Claim] = {}
        self._using: dict[AttemptKey, Resources] = {}

    def add(self, claim: port.Claim) -> None:
        """Count this attempt as using its resources."""
        self._claims[claim.key] = claim
        self._using[claim.key] = claim.resources

    def get(self, key: AttemptKey) -> port.Claim | None:
        """The claim of an attempt that has not ended."""
        return self._claims.get(key)

    def release(self, key: AttemptKey) -> None:
        """Give back what the attempt used: its process is gone, though its end is not recorded."""
        self._using.pop(key, None)

    def remove(self, key: AttemptKey) -> None:
        """Forget an attempt whose end is recorded."""
        self.release(key)
        self._claims.pop(key, None)

    @property
    def in_use(self) -> Resources:
        """What all of them use together; at most as many as slots, so summing is cheap."""
        using = self._using.values()
        return Resources(
            cpus=sum(resources.cpus for resources in using),
            memory_bytes=sum(resources.memory_bytes for resources in using),
            gpus=sum(resources.gpus for resources in using),
        )
