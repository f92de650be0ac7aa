"""Reads grey pictures in the PGM format, plain (P2) and raw (P5)."""

import array
import dataclasses
import re
import sys
from collections.abc import Sequence

WHITE_LIMIT = 65535
# Magic number, width, height and white, apart by blanks or comments; then one blank.
HEADER = re.compile(rb"(P[25])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s")


class FormatError(Exception):
    """The bytes are not a PGM picture."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Pixels row by row, each from 0 (black) to `white`."""

    width: int
    height: int
    white: int
    pixels: Sequence[int]


def parse(content: bytes) -> Picture:
    """Read the first picture of a file."""
    header = HEADER.match(content)
    if header is None:
        raise FormatError("it has no header")
    width, height, white = (int(header[i]) for i in (2, 3, 4))
    if not 0 < white <= WHITE_LIMIT or width == 0 or height == 0:
        raise FormatError("its header is out of range")
    body = content[header.end() :]
    is_plain = header[1] == b"P2"
    pixels = _plain(body, width * height) if is_plain else _raw(body, width * height, white)
    if len(pixels) < width * height:
        raise FormatError("it ends too soon")
    if max(pixels) > white:
        raise FormatError("a pixel is brighter than white")
    return Picture(width=width, height=height, white=white, pixels=pixels)


def _plain(body: bytes, count: int) -> Sequence[int]:
    words = re.sub(rb"#[^\n]*", b"", body).split()[:count]
    if not all(word.isdigit() for word in words):
        raise FormatError("a pixel is not a number")
    return [int(word) for word in words]


def _raw(body: bytes, count: int, white: int) -> Sequence[int]:
    if white < 256:
        return body[:count]
    if len(body) < 2 * count:
        return []
    # Two bytes a pixel, the higher one first.
    wide = array.array("H", body[: 2 * count])
    if sys.byteorder == "little":
        wide.byteswap()
    return wide
