"""Checked reading of a batch file's values: every refusal names the place and what is wanted.

A place reads like the file: `jobs[3].parameters`. Keys may be spelled in camelCase too, as in the
JSON that grpcurl takes, and `method` may be called `method_name`.
"""

import difflib
import enum
import math
import re
from collections.abc import Set as AbstractSet
from typing import TypeVar

from google.protobuf import struct_pb2

from dshpc.cli.documents import Json

MAX_EXACT_INTEGER = 2**53
MAX_DEPTH = 30
"""A Struct takes three levels of a message's 100."""
MAX_VALUES = 100_000
MAX_SECONDS = 10**9

_HASH = re.compile(r"[0-9a-f]{64}")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_DECIMAL_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES = _DECIMAL_BYTES | {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SYNONYMS = {
    "method_name": "method",
    "memory_bytes": "memory",
    "cache_policy": "cache",
    "resubmit_policy": "resubmit",
}


WordT = TypeVar("WordT", bound=enum.StrEnum)


class BatchFileError(Exception):
    """Something in a batch file cannot be used."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place


def members(place: str, value: Json, known: AbstractSet[str]) -> dict[str, Json]:
    """Return a mapping's members by their own names, without those that are null."""
    found: dict[str, Json] = {}
    for key, member in mapping(place, value).items():
        name = own_name(key)
        if name not in known:
            raise BatchFileError(inside(place, key), f"unknown key{_suggestion(key, known)}")
        if name in found:
            raise BatchFileError(inside(place, key), f"'{name}' is given twice")
        found[name] = member
    return {name: member for name, member in found.items() if member is not None}


def mapping(place: str, value: Json) -> dict[str, Json]:
    """Return a mapping."""
    if not isinstance(value, dict):
        raise BatchFileError(place, f"must be a mapping, not {kind(value)}")
    return value


def own_name(key: str) -> str:
    """Return what a key is called here, however it is spelled."""
    snake = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda match: "_" + match[0].lower(), key)
    return _SYNONYMS.get(snake, snake)


def inside(place: str, key: str) -> str:
    """Return the place of a member."""
    return f"{place}.{key}" if place else key


def kind(value: Json) -> str:
    """Return what a value is, for people."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "a mapping", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def text(place: str, value: Json) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str):
        hint = ": put it in quotes" if isinstance(value, bool | int | float) else ""
        raise BatchFileError(place, f"must be text, not {kind(value)}{hint}")
    if not value:
        raise BatchFileError(place, "must not be empty")
    _check_unicode(place, value)
    return value


def items(place: str, value: Json) -> list[Json]:
    """Return a list that is not empty."""
    if not isinstance(value, list):
        raise BatchFileError(place, f"must be a list, not {kind(value)}")
    if not value:
        raise BatchFileError(place, "must not be empty")
    return value


def file_hash(place: str, value: Json) -> str:
    """Return a SHA-256 in lower-case hex."""
    found = text(place, value)
    if not _HASH.fullmatch(found):
        raise BatchFileError(place, "must be a SHA-256: 64 lower-case hex digits")
    return found


def seconds(place: str, value: Json) -> float:
    """Return a duration: a number of seconds, or text like `90s`, `10m`, `1h30m`."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        parts = _DURATION_PART.findall(value)
        found = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if abs(value) <= MAX_SECONDS else math.inf
    else:
        raise BatchFileError(place, "must be seconds, or text like 90s, 10m, 1h30m")
    if not 0 < found <= MAX_SECONDS:  # also false for NaN
        raise BatchFileError(place, f"must be over 0 and at most {MAX_SECONDS} seconds")
    return found


def size_bytes(place: str, value: Json) -> int:
    """Return a size: a number of bytes, or text like `2GiB`, `500MB`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return round(float(match[1]) * _BYTES[match[2] or "B"])
    if isinstance(value, str):
        raise BatchFileError(place, "must be bytes, or text like 2GiB, 500MB")
    return count(place, value, maximum=2**63 - 1)


def count(place: str, value: Json, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
    """Return a whole number, from 0 unless said otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise BatchFileError(place, f"must be a whole number from {minimum} to {maximum}")
    return value


def number(place: str, value: Json) -> float:
    """Return a number that is finite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BatchFileError(place, f"must be a number, not {kind(value)}")
    _check_scalar(place, value)
    return float(value)


def boolean(place: str, value: Json) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise BatchFileError(place, f"must be true or false, not {kind(value)}")
    return value


def word(place: str, value: Json, words: type[WordT], *, prefix: str) -> WordT:
    """Return one of some words: `never`, or the contract's with its prefix."""
    try:
        return words(text(place, value).lower().removeprefix(prefix))
    except ValueError:
        raise BatchFileError(place, f"must be one of {', '.join(words)}") from None


def parameters(place: str, value: Json) -> struct_pb2.Struct:
    """Return a method's parameters as they are sent; what a double cannot hold is refused."""
    members_given = mapping(place, value)
    _check_values(place, members_given)
    struct = struct_pb2.Struct()
    struct.update(members_given)
    return struct


def value(place: str, given: Json) -> struct_pb2.Value:
    """Return a value of a parameter as it is sent; what a double cannot hold is refused."""
    _check_values(place, given)
    struct = struct_pb2.Struct()
    struct.update({"value": given})
    return struct.fields["value"]


def _check_values(place: str, value: Json) -> None:
    """Walk all values, without recursion: aliases may repeat or even contain themselves."""
    waiting: list[tuple[str, Json, int]] = [(place, value, 1)]
    seen_count = 0
    while waiting:
        place, value_here, depth = waiting.pop()
        seen_count += 1
        if depth > MAX_DEPTH:
            raise BatchFileError(place, f"is nested deeper than {MAX_DEPTH} levels")
        if seen_count > MAX_VALUES:
            raise BatchFileError(place, f"the parameters hold more than {MAX_VALUES} values")
        if isinstance(value_here, dict):
            for key, member in value_here.items():
                _check_unicode(place, key)
                waiting.append((inside(place, key), member, depth + 1))
        elif isinstance(value_here, list):
            waiting += [(f"{place}[{i}]", item, depth + 1) for i, item in enumerate(value_here)]
        else:
            _check_scalar(place, value_here)


def _check_scalar(place: str, value: Json) -> None:
    if isinstance(value, str):
        _check_unicode(place, value)
    elif isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
        reason = "is over 2^53: numbers are sent as doubles, which cannot hold it; put it in quotes"
        raise BatchFileError(place, f"{value} {reason}" if abs(value) < 10**30 else reason)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BatchFileError(place, f"{value} is not a number that JSON has")
    elif value is not None and not isinstance(value, int | float):
        raise BatchFileError(place, f"is {kind(value)}, which JSON does not have")


def _check_unicode(place: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BatchFileError(place, "is not Unicode text") from None


def _suggestion(key: str, known: AbstractSet[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"
