"""Protobuf's wire format, as far as joining encoded messages needs it.

Two encoded messages of one type joined are their merge: repeated fields add up, of a scalar the
last one counts. A message inside another is its tag, its length and its bytes. (Protocol Buffers
encoding guide, "Last One Wins" and "Length-Delimited Records".)
"""

_LENGTH_DELIMITED = 2
_SMALL = [bytes([number]) for number in range(0x80)]


def varint(number: int) -> bytes:
    """Return a non-negative integer in base 128, the least significant group first."""
    if number <= 0x7F:
        return _SMALL[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field (a message, string or bytes) of an enclosing message."""
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(payload)) + payload
