"""Messages that nobody means: random ones from a descriptor, and the hostile words in them.

All randomness is handed in, so that a seed tells the whole story.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor, message, message_factory

_Field = descriptor.FieldDescriptor
NAMES = {
    "path": "../../x",
    "absolute": "/etc/passwd",
    "shell": "$(touch x)",
    "quote": "'; DROP TABLE jobs; --",
    "nul": "a\0b",
    "newline": "a\nb\r\nc",
    "long": "n" * 10_000,
    "right-to-left": "\u202egpj.exe\u202c\u200f",
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "emoji": "\N{PILE OF POO}" * 9,
    "percent": "%s%n%00{0}{self}",
    "not-a-character": "\ufffe\U0010ffff",
}
"""By what is bad about them."""
NOT_UTF8 = {"surrogate": b"\xed\xa0\x80", "cut": b"\xe2\x82", "never": b"\xff\xfe"}
"""Bytes that no string may hold."""
BAD_HASHES = {
    "short": "a" * 63,
    "long": "a" * 65,
    "upper-case": "A" * 64,
    "not-hex": "g" * 64,
    "path": "../" * 21 + "a",
    "newline": "a" * 64 + "\n",
    "wide-digits": "\N{FULLWIDTH DIGIT ONE}" * 64,
}
_INTEGERS = (0, 1, -1, 2, 7, 255, 2**31 - 1, -(2**31))
_LONG_INTEGERS = (*_INTEGERS, 2**53, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 2.0**63, 5e-324, 1e308)
_EXTREMES: Mapping[int, Sequence[float]] = {
    _Field.CPPTYPE_INT32: _INTEGERS,
    _Field.CPPTYPE_INT64: _LONG_INTEGERS,
    _Field.CPPTYPE_ENUM: (99, -1, 2**31 - 1),
    _Field.CPPTYPE_DOUBLE: _FLOATS,
    _Field.CPPTYPE_FLOAT: _FLOATS,
}
_DEPTH = 5


class Fuzzer:
    """Makes messages of any type. `known` are names that exist, by the field they belong in."""

    def __init__(self, rng: random.Random, known: Mapping[str, Sequence[str]]) -> None:
        self._rng = rng
        self._known = known
        self._words = [*NAMES.values(), *BAD_HASHES.values(), "", "input", "a"]
        self._wildness = 0.0

    def requests(self, method: descriptor.MethodDescriptor) -> list[bytes]:
        """Return what to send to an RPC: one message, or several to a client stream."""
        count = self._rng.choice((0, 1, 2, 4)) if method.client_streaming else 1
        return [self._encoded(method.input_type) for _ in range(count)]

    def _encoded(self, wanted: descriptor.Descriptor) -> bytes:
        """Return the bytes of one, sometimes of two at once, damaged, or with unknown fields."""
        # The tame ones get past the first checks.
        self._wildness = self._rng.choice((0.1, 0.3, 0.8))
        made = self._message(wanted, 0).SerializeToString()
        chance = self._rng.random()
        if chance < 0.15:
            # Both members of a oneof, scalars twice: what only the wire can say.
            return made + self._message(wanted, 0).SerializeToString()
        if chance < 0.22:
            return made[: self._rng.randrange(len(made) + 1)]
        if chance < 0.3 and made:
            at = self._rng.randrange(len(made))
            return made[:at] + self._rng.randbytes(1) + made[at + 1 :]
        if chance < 0.36:
            return made + self._unknown()
        return made

    def noise(self) -> bytes:
        """Return some bytes."""
        return self._rng.randbytes(self._rng.choice((0, 1, 2, 3, 8, 40, 400, 4000)))

    def _message(self, wanted: descriptor.Descriptor, depth: int) -> message.Message:
        made: Any = message_factory.GetMessageClass(wanted)()
        for field in wanted.fields:
            if self._rng.random() < max(0.4, self._wildness):
                self._fill(made, field, depth)
        return made  # type: ignore[no-any-return]  # its class comes from the descriptor

    def _fill(self, made: Any, field: _Field, depth: int) -> None:  # noqa: ANN401 - a message of any type
        entry = field.message_type
        if entry is not None and depth >= _DEPTH:
            return
        if entry is not None and entry.GetOptions().map_entry:
            self._fill_map(getattr(made, field.name), entry, depth)
        elif field.is_repeated:
            for _ in range(self._rng.choice((0, 1, 1, 2, 3))):
                items = getattr(made, field.name)
                if entry is not None:
                    items.add().CopyFrom(self._message(entry, depth + 1))
                else:
                    items.append(self._scalar(field))
        elif entry is not None:
            getattr(made, field.name).CopyFrom(self._message(entry, depth + 1))
        else:
            setattr(made, field.name, self._scalar(field))

    def _fill_map(self, items: Any, entry: descriptor.Descriptor, depth: int) -> None:  # noqa: ANN401 - a map of protobuf
        value = entry.fields_by_name["value"]
        for _ in range(self._rng.choice((0, 1, 2))):
            key = self._rng.choice(("input", *self._words))
            if value.message_type is not None:
                items[key].CopyFrom(self._message(value.message_type, depth + 1))
            else:
                items[key] = self._scalar(value)

    def _scalar(self, field: _Field) -> object:
        rng = self._rng
        if field.type == _Field.TYPE_BYTES:
            return self.noise()
        if field.cpp_type == _Field.CPPTYPE_STRING:
            is_wild = rng.random() < self._wildness
            return rng.choice(self._words if is_wild else self._known.get(field.name, ("", "a")))
        numbers: Sequence[float] = (0, 1, 2)
        if field.cpp_type == _Field.CPPTYPE_ENUM:
            numbers = range(9)
        if rng.random() < self._wildness:
            numbers = _EXTREMES.get(field.cpp_type, numbers)
        number = rng.choice(numbers)
        return bool(number) if field.cpp_type == _Field.CPPTYPE_BOOL else number

    def _unknown(self) -> bytes:
        """Return a field of a number that no message has."""
        return self._rng.choice((b"\xf8\x3f\x01", b"\xfa\x3f\x03abc", b"\xfd\x3f\0\0\0\0"))


def filled(wanted: descriptor.Descriptor, text: str, depth: int = 0) -> message.Message:
    """Return a message with this text in every field that takes text or bytes."""
    made: Any = message_factory.GetMessageClass(wanted)()
    for field in wanted.fields:
        entry = field.message_type
        value = getattr(made, field.name)
        if entry is not None and depth >= _DEPTH:
            continue
        if entry is not None and entry.GetOptions().map_entry:
            inner = entry.fields_by_name["value"].message_type
            if inner is not None:
                value[text].CopyFrom(filled(inner, text, depth + 1))
        elif entry is not None:
            inside = filled(entry, text, depth + 1)
            (value.add() if field.is_repeated else value).CopyFrom(inside)
        elif field.cpp_type == _Field.CPPTYPE_STRING:
            content = text.encode() if field.type == _Field.TYPE_BYTES else text
            if field.is_repeated:
                value.append(content)
            else:
                setattr(made, field.name, content)
    return made  # type: ignore[no-any-return]  # its class comes from the descriptor
