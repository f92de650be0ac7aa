"""Admission: what a row gets of the machine, and whether it can ever fit.

Pure arithmetic over declared resources; the engine enforces what was declared.
"""

import dataclasses

from dshpc_server.batches.request import RequestedResources
from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.engine.port import Capacity
from dshpc_server.methods.method import MethodVersion


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What a job gets when neither the row nor its method says."""

    cpus: int
    memory_bytes: int
    timeout_seconds: float
    max_timeout_seconds: float


def granted(
    asked: RequestedResources, method: MethodVersion, defaults: Defaults, capacity: Capacity
) -> Resources | Rejection:
    """What a job may use: the row's word, else the method's, else the default."""
    resources = Resources(
        cpus=asked.cpus or method.resources.cpus or defaults.cpus,
        memory_bytes=asked.memory_bytes or method.resources.memory_bytes or defaults.memory_bytes,
        gpus=asked.gpus or method.resources.gpus or 0,
    )
    return refusal(resources, capacity) or resources


def refusal(resources: Resources, capacity: Capacity) -> Rejection | None:
    """Why a job that needs this can never run here; None when it can."""
    excess = [
        Violation(field=f"resources.{name}", description=f"{wanted} asked, {available} available")
        for name, wanted, available in (
            ("cpus", resources.cpus, capacity.cpus),
            ("memory_bytes", resources.memory_bytes, capacity.memory_bytes),
            ("gpus", resources.gpus, capacity.gpus),
        )
        if wanted > available
    ]
    if not excess:
        return None
    listed = "; ".join(f"{v.field}: {v.description}" for v in excess)
    return Rejection(
        reason=Reason.RESOURCES_UNAVAILABLE,
        message=f"The job can never run here ({listed})",
        violations=tuple(excess),
    )


def allowed_seconds(asked: float | None, method: MethodVersion, defaults: Defaults) -> float:
    """How long a job may run: the row's word, else the method's, else the default; capped."""
    wanted = asked or method.timeout_seconds or defaults.timeout_seconds
    return min(wanted, defaults.max_timeout_seconds)


class Room:
    """What is left of a capacity while attempts are granted one after the other."""

    def __init__(self, capacity: Capacity, in_use: Resources) -> None:
        self._cpus = capacity.cpus - in_use.cpus
        self._memory_bytes = capacity.memory_bytes - in_use.memory_bytes
        self._gpus = capacity.gpus - in_use.gpus

    @property
    def most_jobs(self) -> int:
        """How many jobs fit at the most: each needs a core."""
        return max(0, self._cpus)

    def take(self, wanted: Resources) -> bool:
        """Grant it if it fits, and keep count."""
        fits = (
            wanted.cpus <= self._cpus
            and wanted.memory_bytes <= self._memory_bytes
            and wanted.gpus <= self._gpus
        )
        if fits:
            self._cpus -= wanted.cpus
            self._memory_bytes -= wanted.memory_bytes
            self._gpus -= wanted.gpus
        return fits
