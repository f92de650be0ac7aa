"""Parameters at the edge: from a protobuf Struct to a JSON value with its canonical text.

A Struct cannot be hashed as bytes (map order varies) nor taken as it is: NaN, infinities and
values without a kind are possible, and -0.0 differs from 0.0. The walk here refuses what JSON has
no word for and writes integral doubles as integers. A batch repeats its parameters over many
files, so what was read once is remembered by the bytes it came in; and the rows of a sweep have
each of their parameters in common with others, so these are read once and put together.
"""

import dataclasses
import functools
from collections.abc import Sequence
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
_REMEMBERED_PARTS = 16_384
"""Parts kept while a request is read."""
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
        if self.is_unread(encoded):
            return _rejection(self._too_long(len(encoded)))
        if len(encoded) > _REMEMBERED_BYTES:
            return self._read(encoded)
        return self._remembered(encoded)

    def is_unread(self, encoded: bytes) -> bool:
        """Whether this is not parsed: millions of values would hold everybody up for a second."""
        return len(encoded) > ENCODED_PER_CANONICAL_BYTE * self._limits.max_parameters_bytes

    def read_part(self, encoded: bytes) -> "Part | None":
        """Read a serialised Struct that others are joined to; None for what is wrong by itself."""
        walk = _Walk(self._limits)
        try:
            value = walk.fields(struct_pb2.Struct.FromString(encoded), (), 1)
            members = [
                # RFC 8785 sorts names by their UTF-16.
                (name.encode("utf-16-be"), f"{identity.canonical(name)}:{identity.canonical(each)}")
                for name, each in value.items()
            ]
        except (_RefusedError, ValueError):
            return None
        return Part(value=value, members=members, nodes=walk.nodes)

    def join(self, parts: Sequence["Part"]) -> Parameters | None:
        """Put parts that have no name in common together; None when they are over a limit."""
        value: dict[str, identity.Json] = {}
        members: list[tuple[bytes, str]] = []
        nodes = 0
        for part in parts:
            value.update(part.value)
            members += part.members
            nodes += part.nodes
        members.sort()
        canonical = f"{{{','.join([member for _, member in members])}}}"
        if nodes > self._limits.max_parameters_nodes or self._is_too_long(canonical):
            return None
        return Parameters(value=value, canonical=canonical)

    def _read(self, encoded: bytes) -> Parameters | Rejection:
        try:
            value = _Walk(self._limits).fields(struct_pb2.Struct.FromString(encoded), (), 1)
            return Parameters(value=value, canonical=self._canonical(value))
        except _RefusedError as error:
            return _rejection(error)

    def _is_too_long(self, canonical: str) -> bool:
        return len(canonical.encode()) > self._limits.max_parameters_bytes

    def _canonical(self, value: identity.Json) -> str:
        text = identity.canonical(value)
        size = len(text.encode())
        if size > self._limits.max_parameters_bytes:
            raise self._too_long(size)
        return text

    def _too_long(self, size: int) -> _RefusedError:
        maximum = self._limits.max_parameters_bytes
        return _RefusedError((), f"{size} bytes, over max_parameters_bytes of {maximum}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Parameters that others are joined to."""

    value: dict[str, identity.Json]
    members: Sequence[tuple[bytes, str]]
    """Of the canonical text: what each is sorted by, and how it is written."""
    nodes: int
    """How many values there are, those inside others too."""


class PartsReader:
    """Reads the parameters of one request's rows, each part of them once."""

    def __init__(self, reader: ParameterReader) -> None:
        self._reader = reader
        self._parts: dict[bytes, Part | None] = {}

    def read(self, parts: Sequence[bytes], encoded: bytes) -> Parameters | Rejection:
        """Read serialised Structs that have no name in common; `encoded` is what they are joined.

        The answer is that to the whole.
        """
        if len(parts) > 1 and not self._reader.is_unread(encoded):
            read = [self._part(part) for part in parts]
            known = [part for part in read if part is not None]
            joined = self._reader.join(known) if len(known) == len(read) else None
            if joined is not None:
                return joined
        return self._reader.read(encoded)  # which says what is wrong with it

    def _part(self, encoded: bytes) -> Part | None:
        if encoded not in self._parts:
            if len(self._parts) == _REMEMBERED_PARTS:
                self._parts.clear()
            self._parts[encoded] = self._reader.read_part(encoded)
        return self._parts[encoded]


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
        self.nodes = 0

    def fields(
        self, struct: struct_pb2.Struct, path: _Path, depth: int
    ) -> dict[str, identity.Json]:
        self._enter(path, depth)
        return {
            name: self._value(value, (*path, name), depth) for name, value in struct.fields.items()
        }

    def _value(self, value: struct_pb2.Value, path: _Path, depth: int) -> identity.Json:
        self.nodes += 1
        if self.nodes > self._limits.max_parameters_nodes:
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
