"""Parameters at the edge: from a protobuf Struct to a JSON value with its canonical text.

A Struct cannot be hashed as bytes (map order varies) nor taken as it is: NaN, infinities and
values without a kind are possible, and -0.0 differs from 0.0. The walk here refuses what JSON has
no word for and writes integral doubles as integers. A batch repeats its parameters over many
files, so what was read once is remembered by the bytes it came in.
"""

import functools
from typing import TypeAlias

from google.protobuf import struct_pb2

from dshpc_server.batches.request import Parameters
from dshpc_server.domain import identity
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.transport import limits

_REMEMBERED = 1024
"""Parameter sets kept. Of 2 KiB each at the most, as they came: 32 MiB of Python values for the
worst of them, empty lists in lists."""
_REMEMBERED_BYTES = 2048
ENCODED_PER_CANONICAL_BYTE = 8
"""A Struct takes up to 5.5 bytes for one of canonical JSON (ones in a list). What is longer than
this is over the limit whatever is in it."""
_MAX_SHOWN_CHARACTERS = 64
"""Of each name in a path."""
_EMPTY = Parameters(value={}, canonical="{}")
_Path: TypeAlias = tuple[str | int, ...]


class _RefusedError(Exception):
    """A value that is no JSON, or over a limit; carries where and why."""

    def __init__(self, path: _Path, description: str) -> None:
        field = _spelled(path)
        super().__init__(f"{field}: {description}")
        self.violation = Violation(field=field, description=description)


class ParameterReader:
    """Reads parameters within limits."""

    def __init__(self, limits: limits.Limits) -> None:
        self._limits = limits
        self._remembered = functools.lru_cache(maxsize=_REMEMBERED)(self._read)

    def read(self, encoded: bytes) -> Parameters | Rejection:
        """Read a serialised Struct; a Rejection says what is wrong with it."""
        if not encoded:
            return _EMPTY
        if len(encoded) > ENCODED_PER_CANONICAL_BYTE * self._limits.max_parameters_bytes:
            # Not parsed: millions of values would hold everybody up for a second.
            return _rejection(self._too_long(len(encoded)))
        if len(encoded) > _REMEMBERED_BYTES:
            return self._read(encoded)
        return self._remembered(encoded)

    def _read(self, encoded: bytes) -> Parameters | Rejection:
        try:
            value = _Walk(self._limits).fields(struct_pb2.Struct.FromString(encoded), (), 1)
            return Parameters(value=value, canonical=self._canonical(value))
        except _RefusedError as error:
            return _rejection(error)

    def _canonical(self, value: identity.Json) -> str:
        text = identity.canonical(value)
        size = len(text.encode())
        if size > self._limits.max_parameters_bytes:
            raise self._too_long(size)
        return text

    def _too_long(self, size: int) -> _RefusedError:
        maximum = self._limits.max_parameters_bytes
        return _RefusedError((), f"{size} bytes, over max_parameters_bytes of {maximum}")


def _rejection(error: _RefusedError) -> Rejection:
    return Rejection(
        reason=Reason.INVALID_PARAMETERS,
        message=f"Invalid parameters ({error})",
        violations=(error.violation,),
    )


class _Walk:
    """One walk over one Struct, counting. Where it is gets spelled out only when it matters."""

    def __init__(self, limits: limits.Limits) -> None:
        self._limits = limits
        self._nodes = 0

    def fields(
        self, struct: struct_pb2.Struct, path: _Path, depth: int
    ) -> dict[str, identity.Json]:
        self._enter(path, depth)
        return {
            name: self._value(value, (*path, name), depth) for name, value in struct.fields.items()
        }

    def _value(self, value: struct_pb2.Value, path: _Path, depth: int) -> identity.Json:
        self._nodes += 1
        if self._nodes > self._limits.max_parameters_nodes:
            raise _RefusedError(
                path, f"over max_parameters_nodes of {self._limits.max_parameters_nodes}"
            )
        match value.WhichOneof("kind"):
            case "number_value":
                try:
                    return identity.normal_number(value.number_value)
                except ValueError as error:
                    raise _RefusedError(path, str(error)) from error
            case "string_value":
                return value.string_value
            case "bool_value":
                return value.bool_value
            case "null_value":
                return None
            case "struct_value":
                return self.fields(value.struct_value, path, depth + 1)
            case "list_value":
                return self._items(value.list_value, path, depth + 1)
            case _:
                raise _RefusedError(path, "a value without a kind")

    def _items(self, items: struct_pb2.ListValue, path: _Path, depth: int) -> list[identity.Json]:
        self._enter(path, depth)
        return [
            self._value(value, (*path, index), depth) for index, value in enumerate(items.values)
        ]

    def _enter(self, path: _Path, depth: int) -> None:
        if depth > self._limits.max_parameters_depth:
            raise _RefusedError(
                path,
                f"nested deeper than max_parameters_depth of {self._limits.max_parameters_depth}",
            )


def _spelled(path: _Path) -> str:
    """Return a path as the request spells it; names are the client's, so they are cut."""
    return "parameters" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step[:_MAX_SHOWN_CHARACTERS]}"
        for step in path
    )
