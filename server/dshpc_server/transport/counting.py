"""How many entries a request has, counted on its bytes before anything is made of them.

An entry of two bytes becomes 40 to 140 bytes of message: 32 MiB of empty jobs take seconds to parse
and two gigabytes to hold, only to be refused then. Counting ends at the limit, so it costs a tenth
of a second at the most, and nothing for requests that are too short to be over it.
"""

import collections
from collections.abc import Iterator

from google.protobuf import descriptor

from dshpc_server import errors

_LIMITS = {"jobs": "max_jobs_per_request"}
"""The limit that is named, where it is not the field itself."""
_OTHERS = 0
"""Counts the fields that the message does not have."""
_VARINT, _DELIMITED = 0, 2
_SIZES = {1: 8, 3: 0, 4: 0, 5: 4}
"""Of the other wire types. What is in a group counts as if it stood beside it."""


def refuse_too_many(request: bytes, message: descriptor.Descriptor, maximum: int) -> None:
    """Raise LimitExceededError when some field of a message occurs more often than this.

    What is no message passes as far as it goes: to find that out is the parser's.
    """
    if len(request) <= maximum:
        return
    fields = message.fields_by_number
    packed = {number for number, field in fields.items() if _may_be_packed(field)}
    counts: collections.Counter[int] = collections.Counter()
    for number, size in _entries(request):
        counted = number if number in fields else _OTHERS
        counts[counted] += size if number in packed else 1
        if counts[counted] > maximum:
            name = fields[number].name if number in fields else "unknown fields"
            raise errors.LimitExceededError(
                _LIMITS.get(name, name), maximum=maximum, actual=counts[counted]
            )


def _may_be_packed(field: descriptor.FieldDescriptor) -> bool:
    is_long = field.cpp_type in (field.CPPTYPE_STRING, field.CPPTYPE_MESSAGE)
    return field.is_repeated and not is_long


def _entries(request: bytes) -> Iterator[tuple[int, int]]:
    """Number and size of each field, until the end or what is no field."""
    at = 0
    try:
        while at < len(request):
            tag, at = _varint(request, at)
            kind = tag & 7
            size = 1
            if kind == _VARINT:
                _, at = _varint(request, at)
            elif kind == _DELIMITED:
                size, at = _varint(request, at)
                at += size
            else:
                at += _SIZES[kind]
            yield tag >> 3, size
    except (IndexError, KeyError):
        return


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number in base 128 from here; and where the next begins."""
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
