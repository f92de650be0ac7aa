"""Sweeps at the edge: the configs of a request, written out as rows.

Promises: what is wrong with a sweep, and too many rows, refuse the request before a row is made;
rows are made only when they are asked for, from any of them on, so that 100,000 rows of a request
of a few kB are nowhere at one time. A row has the parameters it would have if its config had been
sent with its values.
"""

import bisect
import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence

from google.protobuf import message, struct_pb2

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.domain import identity, sweep
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import known, wire

_FILE_HASH = "file_hash"
"""The axis that is the input file, and no parameter."""
_CONFIG_FILE_HASH = types_pb2.JobConfig.FILE_HASH_FIELD_NUMBER
_CONFIG_PARAMETERS = types_pb2.JobConfig.PARAMETERS_FIELD_NUMBER
_FIELDS = struct_pb2.Struct.FIELDS_FIELD_NUMBER
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
"""The numbers that every map's entries have."""
_MODES = {
    types_pb2.SWEEP_MODE_UNSPECIFIED: sweep.Mode.GRID,
    **{types_pb2.SweepMode.Value(f"SWEEP_MODE_{mode}"): mode for mode in sweep.Mode},
}
_MAX_SHOWN_CHARACTERS = 80
_Value = struct_pb2.Value


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a request, with what its config says of it and what its sweep does."""

    index: int
    config_index: int
    sweep_index: int | None
    """None in a config that never had a sweep."""
    config: types_pb2.JobConfig
    file_hash: str
    parameters: Sequence[bytes] | None
    """Serialised Structs with no name in common, which joined are one; None when there are none."""
    shared: bytes | None = None
    """Of a sweep's rows: what their configs have in common, serialised."""

    def written_out(self) -> bytes:
        """Return the config with which the row would be asked for alone, serialised."""
        if self.shared is None:
            return self.config.SerializeToString()
        parts = [self.shared]
        if self.file_hash:
            parts.append(wire.field(_CONFIG_FILE_HASH, self.file_hash.encode()))
        if self.parameters is not None:
            parts.append(wire.field(_CONFIG_PARAMETERS, b"".join(self.parameters)))
        return b"".join(parts)


class Rows:
    """The rows of a request."""

    def __init__(self, configs: Sequence[types_pb2.JobConfig], maximum: int) -> None:
        """Raise InvalidRequestError or LimitExceededError for what cannot be written out."""
        self._configs = configs
        self._sweeps: dict[int, _Swept] = {}
        self._starts: list[int] = []
        """The index of each config's first row."""
        self.total = 0
        """How many rows there are."""
        for number, config in enumerate(configs):
            self._starts.append(self.total)
            swept = self._swept(number, config)
            self.total += 1 if swept is None else swept.total
            if self.total > maximum:
                # Of sweeps it may have thousands of digits.
                actual = min(self.total, sys.maxsize)
                raise errors.LimitExceededError(
                    "max_jobs_per_request", maximum=maximum, actual=actual
                )
            if swept is not None:  # and known to have not too many values
                swept.check()

    @property
    def of_configs(self) -> Sequence[range]:
        """The indexes of each config's rows."""
        return list(map(range, self._starts, [*self._starts[1:], self.total]))

    def between(self, first: int, last: int) -> Iterator[Row]:
        """Make the rows from `first` to before `last`."""
        last = min(last, self.total)
        number = bisect.bisect_right(self._starts, first) - 1
        while first < last:
            start = self._starts[number]
            swept = self._sweeps.get(number)
            if swept is None:
                yield plain(first, number, self._configs[number])
                first += 1
            else:
                end = min(last, start + swept.total)
                yield from swept.rows(start, first - start, end - start)
                first = end
            number += 1

    def _swept(self, number: int, config: types_pb2.JobConfig) -> "_Swept | None":
        if not config.HasField("sweep"):
            return None
        self._sweeps[number] = _Swept(number, config)
        return self._sweeps[number]


def plain(
    index: int, number: int, config: types_pb2.JobConfig, sweep_index: int | None = None
) -> Row:
    """Return the row of a config without a sweep."""
    has_parameters = config.HasField("parameters")
    return Row(
        index=index,
        config_index=number,
        sweep_index=sweep_index,
        config=config,
        file_hash=config.file_hash,
        parameters=(config.parameters.SerializeToString(),) if has_parameters else None,
    )


class _Swept:
    """One config with a sweep."""

    def __init__(self, number: int, config: types_pb2.JobConfig) -> None:
        self._number = number
        self._config = config
        with self._refusing():
            self._sweep = _read(config.sweep)
        self.total = self._sweep.total
        self._encoded: Sequence[_Encoded] | None = None
        self._common = b""
        """What the configs of all rows have in common; with `_encoded`."""

    def check(self) -> None:
        """Raise InvalidRequestError for values that cannot be."""
        with self._refusing():
            for number, axis in enumerate(self._config.sweep.axes):
                _check(f"axes[{number}]", axis, self._config)

    def rows(self, start: int, first: int, last: int) -> Iterator[Row]:
        """Make the rows from `first` to before `last` of the sweep, whose first one is `start`."""
        if self._encoded is None:
            self._encoded = [_Encoded(axis) for axis in self._axes()]
            self._common = self._shared()
        axes, fixed, shared = self._encoded, self._fixed(), self._common
        for sweep_index, point in enumerate(self._sweep.points(first, last), first):
            file_hash, parameters = self._config.file_hash, [] if fixed is None else [fixed]
            for axis, position in zip(axes, point, strict=True):
                if axis.is_file:
                    file_hash = axis.hashes[position]
                else:
                    parameters.append(axis.entries[position])
            yield Row(
                index=start + sweep_index,
                config_index=self._number,
                sweep_index=sweep_index,
                config=self._config,
                file_hash=file_hash,
                parameters=parameters or None,
                shared=shared,
            )

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except sweep.SweepError as error:
            field = f"jobs[{self._number}].sweep.{error.field}".removesuffix(".")
            raise errors.InvalidRequestError(
                Violation(field=field, description=error.description)
            ) from error

    def _axes(self) -> Iterator[tuple[str, Sequence["_Value | int | float"]]]:
        return zip(self._sweep.names, self._sweep.values, strict=True)

    def _shared(self) -> bytes:
        """Return what the rows' configs have in common, without what `Row` has apart."""
        shared = types_pb2.JobConfig()
        shared.CopyFrom(self._config)
        for name in ("file_hash", "parameters", "sweep"):
            shared.ClearField(name)
        return shared.SerializeToString()

    def _fixed(self) -> bytes | None:
        """Return the parameters that all rows have, without those that the sweep gives."""
        if not self._config.HasField("parameters"):
            return None
        fixed = struct_pb2.Struct()
        fixed.CopyFrom(self._config.parameters)
        for name in self._sweep.names:
            fixed.fields.pop(name, None)
        return fixed.SerializeToString()


class _Encoded:
    """The values of an axis, ready to be put into rows."""

    def __init__(self, axis: tuple[str, Sequence[_Value | int | float]]) -> None:
        name, values = axis
        self.is_file = name == _FILE_HASH
        encodable = [
            value if isinstance(value, _Value) else _Value(number_value=value) for value in values
        ]
        self.hashes = [value.string_value for value in encodable] if self.is_file else []
        key = wire.field(_ENTRY_KEY, name.encode())
        self.entries = [] if self.is_file else [_entry(key, value) for value in encodable]


def _entry(key: bytes, value: _Value) -> bytes:
    """Return one parameter as a part of a serialised Struct."""
    return wire.field(_FIELDS, key + wire.field(_ENTRY_VALUE, value.SerializeToString()))


def _read(asked: types_pb2.Sweep) -> sweep.Sweep[_Value]:
    """Read a sweep, all but its values. Raises SweepError."""
    axes = asked.axes[: sweep.MAX_AXES + 1]
    _check_known("", asked)
    for number, axis in enumerate(axes):
        _check_known(f"axes[{number}]", axis)
        _check_known(f"axes[{number}].range", axis.range)
    if asked.mode not in _MODES:
        raise sweep.SweepError("mode", f"{asked.mode} is not a value of SweepMode")
    return sweep.Sweep(
        [sweep.Axis(name=axis.parameter, values=axis.values, range=_range(axis)) for axis in axes],
        _MODES[asked.mode],
    )


def _check_known(field: str, asked: message.Message) -> None:
    if said := known.unknown_field(asked):
        raise sweep.SweepError(field, said)


def _range(axis: types_pb2.SweepAxis) -> sweep.Range | None:
    if not axis.HasField("range"):
        return None
    asked = axis.range
    return sweep.Range(
        start=asked.start, stop=asked.stop, count=asked.count, is_logarithmic=asked.log_scale
    )


def _check(field: str, axis: types_pb2.SweepAxis, config: types_pb2.JobConfig) -> None:
    """Raise SweepError for what the axis, or a value of it, cannot be."""
    if axis.parameter == _FILE_HASH:
        if config.inputs:
            raise sweep.SweepError(f"{field}.parameter", "file_hash, not together with inputs")
        if axis.HasField("range"):
            raise sweep.SweepError(f"{field}.range", "file_hash has hashes for values")
    for number, value in enumerate(axis.values):
        said = _wrong_hash(value) if axis.parameter == _FILE_HASH else _wrong_value(value)
        if said:
            raise sweep.SweepError(f"{field}.values[{number}]", said)


def _wrong_hash(value: _Value) -> str:
    """Say what is wrong with the value of an input; empty for nothing."""
    if value.WhichOneof("kind") != "string_value":
        return "is no string"
    if not identity.is_hash(value.string_value):
        return f"'{value.string_value[:_MAX_SHOWN_CHARACTERS]}' is not a SHA-256 in lower-case hex"
    return ""


def _wrong_value(value: _Value) -> str:
    """Say what is wrong with the value of a parameter; empty for nothing that shows at once."""
    kind = value.WhichOneof("kind")
    if kind is None:
        return "a value without a kind"
    if kind == "number_value" and not math.isfinite(value.number_value):
        return f"{value.number_value} is not a JSON number"
    return ""
