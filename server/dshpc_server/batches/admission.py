"""Admission: what a row gets of what there is, and whether it can ever fit.

Pure arithmetic over declared resources; the engine enforces what was declared. An engine with
nodes runs a job on one of them; one with a queue of its own takes jobs by their number, whatever
they need; one that does not know yet what there is refuses nothing.
"""

import dataclasses
from collections.abc import Iterator

from dshpc_server.batches.request import RequestedResources
from dshpc_server.domain import fitting
from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Rejection, Violation
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
    """Why a job that needs this can never run here; None when it can, or nobody knows."""
    if capacity.nodes is not None:
        return fitting.refusal(resources, capacity.nodes, are_nodes=True)
    if capacity.queued_jobs is not None:
        return None
    whole = Resources(cpus=capacity.cpus, memory_bytes=capacity.memory_bytes, gpus=capacity.gpus)
    return fitting.refusal(resources, [whole], are_nodes=False)


def granted_seconds(
    asked: float | None, method: MethodVersion, defaults: Defaults, capacity: Capacity
) -> float | Rejection:
    """How long a job may run: the row's word, else the method's, else the default; capped.

    What was asked for and is longer than jobs may be here is refused; a default is cut.
    """
    said = asked or method.timeout_seconds
    wanted = min(said or defaults.timeout_seconds, defaults.max_timeout_seconds)
    longest = capacity.longest_seconds
    if longest is None or wanted <= longest:
        return wanted
    if not said:
        return longest
    told = f"{wanted:.12g} s asked, {longest:.12g} s at most"
    return fitting.never([Violation(field="timeout", description=told)])


class Room:
    """What is left of a capacity while attempts are granted one after the other."""

    def __init__(self, capacity: Capacity, in_use: Resources, attempts: int) -> None:
        """`attempts` use `in_use` together."""
        self._capacity = capacity
        self._cpus = capacity.cpus - in_use.cpus
        self._memory_bytes = capacity.memory_bytes - in_use.memory_bytes
        self._gpus = capacity.gpus - in_use.gpus
        self._attempts = attempts

    @property
    def most_jobs(self) -> int:
        """How many jobs fit at the most: as many as the queue takes, or each needs a core."""
        queued_jobs = self._capacity.queued_jobs
        return max(0, self._cpus if queued_jobs is None else queued_jobs - self._attempts)

    def take(self, wanted: Resources) -> bool:
        """Grant it if it fits, and keep count."""
        fits = self.most_jobs > 0 and (
            self._capacity.queued_jobs is not None or not any(self._lacking(wanted))
        )
        if fits:
            self._cpus -= wanted.cpus
            self._memory_bytes -= wanted.memory_bytes
            self._gpus -= wanted.gpus
            self._attempts += 1
        return fits

    def shortage(self, wanted: Resources) -> str:
        """Why this does not fit now, for people; "" when it does."""
        if self._capacity.queued_jobs is not None:
            if self.most_jobs:
                return ""
            return f"a place in the queue of the engine: {self._attempts} attempts are in it"
        lacking = list(self._lacking(wanted))
        return f"room: {', '.join(lacking)}" if lacking else ""

    def _lacking(self, wanted: Resources) -> Iterator[str]:
        """Each thing that there is too little left of."""
        there = self._capacity
        for needed, left, whole, name in (
            (wanted.cpus, self._cpus, there.cpus, "cores"),
            (wanted.memory_bytes, self._memory_bytes, there.memory_bytes, "bytes of memory"),
            (wanted.gpus, self._gpus, there.gpus, "GPUs"),
        ):
            if needed > left:
                more = f", and {needed} are needed" if left > 0 else ""
                yield f"{whole - left} of {whole} {name} are in use{more}"
