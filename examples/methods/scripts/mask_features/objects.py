"""Finds the objects of a mask: pixels that are not black and touch each other."""

from collections.abc import Iterator, Sequence

# Steps to the right and down, by how many neighbours a pixel has.
NEIGHBOURS = {
    4: ((1, 0), (-1, 0), (0, 1), (0, -1)),
    8: ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)),
}


def find(pixels: Sequence[int], width: int, connectivity: int) -> list[list[int]]:
    """Return the objects, each as the positions of its pixels."""
    left = {position for position, tone in enumerate(pixels) if tone}
    # What an object takes is gone when its other pixels come.
    return [
        _object(start, left, width, connectivity) for start in range(len(pixels)) if start in left
    ]


def _object(start: int, left: set[int], width: int, connectivity: int) -> list[int]:
    """Take the object that holds this pixel out of those that are left."""
    left.remove(start)
    taken = [start]
    for position in taken:  # it grows on the way
        for neighbour in _around(position, width, connectivity):
            if neighbour in left:
                left.remove(neighbour)
                taken.append(neighbour)
    return taken


def _around(position: int, width: int, connectivity: int) -> Iterator[int]:
    """Yield positions beside this one; those above and below the picture are no pixels."""
    column = position % width
    for right, down in NEIGHBOURS[connectivity]:
        if 0 <= column + right < width:
            yield position + down * width + right
