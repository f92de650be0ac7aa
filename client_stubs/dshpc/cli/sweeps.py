"""Sweeps of a batch file: what varies, over which values, and how many rows that makes.

    sweep:
      mode: grid                                    # or zip
      axes:
        bins: [5, 10, 20]
        alpha: {start: 0.001, stop: 1, count: 4, log_scale: true}
        file: ["data/*.csv"]                        # or file_hash: [HASH, HASH]

The wire form, a list of `{parameter: bins, values: [5, 10]}` and `{parameter: alpha, range: …}`, is
read as well.
"""

import dataclasses
import enum
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from google.protobuf import struct_pb2

from dshpc.cli import fields
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.v1 import types_pb2

Source: TypeAlias = pathlib.Path | str
"""A local file, or the hash of content that the server has."""

ReadFiles: TypeAlias = Callable[[str, Json], Sequence[Source]]
"""Reads files, and patterns of them, at a place."""

FILE_HASH = "file_hash"
"""What the contract calls the axis of the input file."""
MAX_AXES = 1_000

_FILE = "file"
_SWEEP = frozenset({"axes", "mode"})
_AXIS = frozenset({"parameter", "values", "range", _FILE})
_RANGE = frozenset({"start", "stop", "count", "log_scale"})


def hash_of(source: Source, hashes: Mapping[pathlib.Path, str]) -> str:
    """Return the hash of a source, given those of the local files."""
    return hashes[source] if isinstance(source, pathlib.Path) else source


class Mode(enum.StrEnum):
    """How axes are combined."""

    GRID = "grid"
    ZIP = "zip"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ValueAxis:
    """A parameter and its values."""

    parameter: str
    values: tuple[struct_pb2.Value, ...]

    @property
    def count(self) -> int:
        """How many values it has."""
        return len(self.values)

    def sent(self, _: Mapping[pathlib.Path, str]) -> types_pb2.SweepAxis:
        """Return what is sent."""
        return types_pb2.SweepAxis(parameter=self.parameter, values=self.values)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RangeAxis:
    """A parameter and a range of numbers, which the server writes out."""

    parameter: str
    start: float
    stop: float
    count: int
    log_scale: bool

    def sent(self, _: Mapping[pathlib.Path, str]) -> types_pb2.SweepAxis:
        """Return what is sent."""
        numbers = types_pb2.SweepRange(
            start=self.start, stop=self.stop, count=self.count, log_scale=self.log_scale
        )
        return types_pb2.SweepAxis(parameter=self.parameter, range=numbers)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileAxis:
    """The input file, and which files it is."""

    sources: tuple[Source, ...]

    @property
    def parameter(self) -> str:
        """What the contract calls it."""
        return FILE_HASH

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self.sources)

    def sent(self, hashes: Mapping[pathlib.Path, str]) -> types_pb2.SweepAxis:
        """Return what is sent, given the hashes of the local files."""
        found = (hash_of(source, hashes) for source in self.sources)
        values = [struct_pb2.Value(string_value=file_hash) for file_hash in found]
        return types_pb2.SweepAxis(parameter=FILE_HASH, values=values)


Axis: TypeAlias = ValueAxis | RangeAxis | FileAxis


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Many rows of one config."""

    axes: tuple[Axis, ...]
    mode: Mode | None = None
    """None: as the contract says, which is a grid."""

    @property
    def count(self) -> int:
        """How many rows it makes."""
        if self.mode is Mode.ZIP:
            return self.axes[0].count
        return math.prod(axis.count for axis in self.axes)

    def sources_at(self, sweep_index: int) -> list[Source]:
        """Return the files of one of its rows."""
        found: list[Source] = []
        left = sweep_index
        for axis in reversed(self.axes):  # the last one is the fastest
            number = left
            if self.mode is not Mode.ZIP:
                left, number = divmod(left, axis.count)
            if isinstance(axis, FileAxis):
                found.append(axis.sources[number])
        return found

    def sent(self, hashes: Mapping[pathlib.Path, str]) -> types_pb2.Sweep:
        """Return what is sent, given the hashes of the local files."""
        mode = types_pb2.SweepMode.Value(
            f"SWEEP_MODE_{self.mode.name if self.mode else 'UNSPECIFIED'}"
        )
        return types_pb2.Sweep(axes=[axis.sent(hashes) for axis in self.axes], mode=mode)


def read(place: str, value: Json, read_files: ReadFiles) -> Sweep:
    """Read a sweep. Raises BatchFileError, which names the place."""
    given = fields.members(place, value, _SWEEP)
    if "axes" not in given:
        raise BatchFileError(place, "'axes' is missing")
    axes_place = f"{place}.axes"
    mode = None
    if "mode" in given:
        mode = fields.word(f"{place}.mode", given["mode"], Mode, prefix="sweep_mode_")
    axes = given["axes"]
    if isinstance(axes, dict):
        read_axes = _named_axes(axes_place, axes, read_files)
    else:
        read_axes = _listed_axes(axes_place, axes, read_files)
    sweep = Sweep(axes=tuple(read_axes), mode=mode)
    _check(axes_place, sweep)
    return sweep


def _named_axes(place: str, axes: dict[str, Json], read_files: ReadFiles) -> list[Axis]:
    """Read axes by the names of what varies."""
    if not axes:
        raise BatchFileError(place, "must not be empty")
    found: list[Axis] = []
    for name, value in axes.items():
        inner = fields.inside(place, name)
        if name == _FILE:
            found.append(FileAxis(sources=tuple(read_files(inner, value))))
        elif name in (FILE_HASH, "fileHash"):
            found.append(_hashes(inner, value))
        elif isinstance(value, dict):
            found.append(_range(inner, name, value))
        else:
            found.append(_values(inner, name, value))
    return found


def _listed_axes(place: str, axes: Json, read_files: ReadFiles) -> list[Axis]:
    """Read axes as they are sent."""
    found: list[Axis] = []
    for number, item in enumerate(fields.items(place, axes)):
        inner = f"{place}[{number}]"
        axis = fields.members(inner, item, _AXIS)
        if _FILE in axis:
            if len(axis) > 1:
                raise BatchFileError(inner, "'file' stands alone in an axis")
            found.append(FileAxis(sources=tuple(read_files(f"{inner}.file", axis[_FILE]))))
            continue
        name = fields.text(f"{inner}.parameter", axis.get("parameter"))
        if ("values" in axis) == ("range" in axis):
            raise BatchFileError(inner, "give either 'values' or 'range'")
        if "range" in axis:
            found.append(_range(f"{inner}.range", name, axis["range"]))
        elif name == FILE_HASH:
            found.append(_hashes(f"{inner}.values", axis["values"]))
        else:
            found.append(_values(f"{inner}.values", name, axis["values"]))
    return found


def _values(place: str, name: str, value: Json) -> ValueAxis:
    if not isinstance(value, list):
        raise BatchFileError(
            place,
            f"must be a list of values, or a range {{start, stop, count}}, "
            f"not {fields.kind(value)}",
        )
    items = fields.items(place, value)
    values = [fields.value(f"{place}[{number}]", item) for number, item in enumerate(items)]
    return ValueAxis(parameter=name, values=tuple(values))


def _hashes(place: str, value: Json) -> FileAxis:
    items = fields.items(place, value)
    hashes = [fields.file_hash(f"{place}[{number}]", item) for number, item in enumerate(items)]
    return FileAxis(sources=tuple(hashes))


def _range(place: str, name: str, value: Json) -> RangeAxis:
    given = fields.members(place, value, _RANGE)
    for needed in ("start", "stop", "count"):
        if needed not in given:
            raise BatchFileError(place, f"'{needed}' is missing in the range")
    start = fields.number(f"{place}.start", given["start"])
    stop = fields.number(f"{place}.stop", given["stop"])
    count = fields.count(f"{place}.count", given["count"], minimum=1)
    log_scale = fields.boolean(f"{place}.log_scale", given.get("log_scale", False))
    if log_scale and min(start, stop) <= 0 <= max(start, stop):
        raise BatchFileError(
            place, "on a log_scale start and stop must have the same sign, and neither be 0"
        )
    return RangeAxis(parameter=name, start=start, stop=stop, count=count, log_scale=log_scale)


def _check(place: str, sweep: Sweep) -> None:
    if len(sweep.axes) > MAX_AXES:
        raise BatchFileError(place, f"has more than {MAX_AXES} axes")
    names = [axis.parameter for axis in sweep.axes]
    for name in names:
        if names.count(name) > 1:
            raise BatchFileError(place, f"'{name}' is given twice")
    if sweep.mode is Mode.ZIP and len({axis.count for axis in sweep.axes}) > 1:
        counts = ", ".join(f"{axis.parameter} {axis.count}" for axis in sweep.axes)
        raise BatchFileError(place, f"axes that are zipped need as many values each: {counts}")
