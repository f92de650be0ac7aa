"""Whether what a job needs fits into one place, and what is said when it fits into none.

Pure arithmetic over declared resources. A place is one node of a cluster, or all that an engine has
that knows no nodes. Who does not know what places there are asks nothing here.
"""

import collections
from collections.abc import Iterator, Sequence

from dshpc_server.domain.job import Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation

_FIELDS = ("cpus", "memory_bytes", "gpus")
_SHAPES_TOLD = 5
"""Clusters have few shapes of nodes; an answer has little room."""


def refusal(wanted: Resources, places: Sequence[Resources], *, are_nodes: bool) -> Rejection | None:
    """Why a job that needs this can never run in any of these places; None when it can."""
    # Most often the first will do: of the others there may be thousands.
    if any(_fits(wanted, place) for place in places):
        return None
    where = " on the largest node" if are_nodes else ""
    return never(list(_excess(wanted, places, where)) or [_scattered(wanted, places)])


def never(violations: Sequence[Violation]) -> Rejection:
    """The rejection of a job that these keep from ever running."""
    listed = "; ".join(f"{v.field}: {v.description}" for v in violations)
    return Rejection(
        reason=Reason.RESOURCES_UNAVAILABLE,
        message=f"The job can never run here ({listed})",
        violations=tuple(violations),
    )


def _fits(wanted: Resources, place: Resources) -> bool:
    return (
        wanted.cpus <= place.cpus
        and wanted.memory_bytes <= place.memory_bytes
        and wanted.gpus <= place.gpus
    )


def _excess(wanted: Resources, places: Sequence[Resources], where: str) -> Iterator[Violation]:
    """Each thing that no place has enough of, whatever else a job needs."""
    for name in _FIELDS:
        asked, most = getattr(wanted, name), max((getattr(p, name) for p in places), default=0)
        if asked > most:
            told = f"{asked} asked, {most} available{where}"
            yield Violation(field=f"resources.{name}", description=told)


def _scattered(wanted: Resources, places: Sequence[Resources]) -> Violation:
    """That no place has all of it, though there is enough of each thing somewhere."""
    shapes = collections.Counter(map(_told, places)).most_common()
    told = "; ".join(f"{count} with {shape}" for shape, count in shapes[:_SHAPES_TOLD])
    more = "; and others" if len(shapes) > _SHAPES_TOLD else ""
    return Violation(
        field="resources",
        description=f"{_told(wanted)} asked, no node has all of it; there are {told}{more}",
    )


def _told(resources: Resources) -> str:
    return ", ".join(f"{name} {getattr(resources, name)}" for name in _FIELDS)
