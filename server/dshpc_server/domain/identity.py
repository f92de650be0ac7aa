"""Identity: the content address that makes a run happen once. Recipe version 1.

    job_id = hex(sha256(utf8(jcs({"function": FUNCTION_HASH, "inputs": {NAME: HASH, …},
                                  "parameters": {…}, "version": 1}))))

`jcs` is the JSON Canonicalization Scheme, RFC 8785: sorted keys, no white space, numbers as IEEE
doubles in ECMAScript form. The recipe is published in `docs/identity.md` with golden vectors, so
that a client can compute a job_id offline; it never changes without a new version number.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TypeAlias

import rfc8785

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

VERSION = 1
HASH_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


def is_hash(text: str) -> bool:
    """Whether this is a SHA-256 in lower-case hex."""
    return len(text) == HASH_LENGTH and _HEX.issuperset(text)


def canonical(value: Json) -> str:
    """Return the RFC 8785 text of a JSON value.

    Numbers are IEEE doubles: integral ones are written as integers, -0.0 as 0. Raises ValueError
    for NaN, infinities, text that is not Unicode, and an `int` of 2**53 or more (a `float` of that
    size is what it is; an `int` might stand for a number that no double holds).
    """
    if _is_plain(value):
        return _PLAIN_ENCODER.encode(value)
    try:
        return rfc8785.dumps(value).decode()
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def job_id(*, function_hash: str, inputs: Mapping[str, str], parameters_json: str) -> str:
    """Return the content address of a job.

    `parameters_json` is already canonical, so the document is put together instead of walked
    again: its four keys stand in their canonical order, and input names are ASCII.
    """
    given = ",".join([f"{_encode(name)}:{_encode(inputs[name])}" for name in sorted(inputs)])
    document = (
        f'{{"function":"{function_hash}","inputs":{{{given}}},'
        f'"parameters":{parameters_json},"version":{VERSION}}}'
    )
    return hashlib.sha256(document.encode()).hexdigest()


def normal_number(number: float) -> int | float:
    """Return a double as a method is to see it: integral ones as integers, -0.0 as 0.

    Integral doubles of 2**53 and more stay floats, since neighbours are no longer told apart.
    Raises ValueError for NaN and infinities.
    """
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a JSON number")
    if number.is_integer() and abs(number) < 2**53:
        return int(number)
    return number


# For plain values the standard library's encoder writes what RFC 8785 asks for, and is five times
# as fast as walking them in Python.
_PLAIN_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_SAFE_INTEGER = 2**53
_encode = _PLAIN_ENCODER.encode


def _is_plain(value: Json) -> bool:
    """Whether nothing in a value is written or sorted in another way by RFC 8785.

    Floats are (1e-07, 1e+16), large integers are refused, and text beyond ASCII may hold
    surrogates or sort by its UTF-16.
    """
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, dict):
        return all(key.isascii() and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, int):  # True and False are
        return -_SAFE_INTEGER < value < _SAFE_INTEGER
    return value is None
