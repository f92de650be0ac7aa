"""Where an attempt was placed: which task of which array, and where in it.

    ATTEMPT_FOLDER/task.json    written before the array is submitted, so whoever recovers the
                                attempt knows the name under which Slurm has it

A place is for looking things up; what a method may have put there can do no more than have its own
attempt looked for elsewhere: what is there counts only when it is whole, in form, of this attempt,
and names an array of this deployment.
"""

import dataclasses
import datetime
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from dshpc_server.domain.job import Basis, Packing
from dshpc_server.engine import forms, wary

_NAME = "task.json"
_MOST = 2**31 - 1
_BASES = [basis.value for basis in Basis]
_FIELDS: Mapping[str, forms.Check] = {
    "name": forms.is_name,
    "array": forms.is_name,
    "task": forms.is_whole(0, _MOST),
    "position": forms.is_whole(0, _MOST),
    "jobs": forms.is_whole(1, _MOST),
    "basis": lambda value: value is None or value in _BASES,
    "at": forms.is_seconds,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in an array."""

    array: str
    """The array's name."""
    index: int
    """Of the task in the array."""
    position: int
    """In the task, from 0."""
    packing: Packing | None
    at: datetime.datetime
    """When it was put there, to be submitted."""

    @property
    def mark(self) -> str:
        """What names it within its array."""
        return f"{self.index}.{self.position}"


def write(folder: pathlib.Path, name: str, place: Place) -> None:
    """Put down where an attempt was placed; what was there before is replaced."""
    packing = place.packing
    record = {
        "name": name,
        "array": place.array,
        "task": place.index,
        "position": place.position,
        "jobs": packing.jobs if packing else 1,
        "basis": packing.basis if packing else None,
        "at": place.at.timestamp(),
    }
    # Another server may put the same attempt into an array of its own at this moment.
    new = f"{folder}/task.{place.array}.new"
    with open(new, "w") as file:  # noqa: PTH123 - the same, and thousands at a time
        file.write(json.dumps(record))
    os.replace(new, f"{folder}/{_NAME}")  # noqa: PTH105 - as above


def read(folder: pathlib.Path, name: str, *, prefix: str) -> Place | None:
    """Return where an attempt was placed; None when nothing tells, or what tells is not true.

    `prefix` begins the names of this deployment's arrays. Raises OSError when that cannot be read
    for the moment.
    """
    try:
        found = wary.read(folder / _NAME)
        record: dict[str, Any] = json.loads(found[0]) if found is not None else {}
    except (wary.UnreadableError, ValueError):
        return None
    if not forms.has_fields(record, _FIELDS) or record["name"] != name:
        return None
    array = record["array"]
    if not array.startswith(prefix) or "/" in array:
        return None
    jobs, basis = record["jobs"], record["basis"]
    packing = Packing(jobs=jobs, basis=Basis(basis)) if jobs > 1 and basis is not None else None
    return Place(
        array=array,
        index=record["task"],
        position=record["position"],
        packing=packing,
        at=datetime.datetime.fromtimestamp(record["at"], datetime.UTC),
    )
