"""Describes the bright part of a two-tone picture (PGM): its area, its objects, where it lies.

Every pixel that is not black belongs to the mask. Pixels of the mask that touch
are one object: along edges, or at corners as well. Objects smaller than asked are
counted as specks and left out of everything else.
"""

import pathlib
import sys

import job
import objects
import pgm


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    connectivity = parameters.integer("connectivity", lowest=4, highest=8)
    if connectivity not in objects.NEIGHBOURS:
        raise job.UnfitError("parameter 'connectivity' must be 4 or 8")
    smallest = parameters.integer("smallest", lowest=1, highest=2**31)
    try:
        picture = pgm.parse(input_path.read_bytes())
    except pgm.FormatError as error:
        raise job.UnfitError(f"the data are not a PGM picture: {error}") from error
    found = objects.find(picture.pixels, picture.width, connectivity)
    kept = [pixels for pixels in found if len(pixels) >= smallest]
    return describe(kept, picture) | {"specks": len(found) - len(kept)}


def describe(found: list[list[int]], picture: pgm.Picture) -> dict[str, object]:
    """Return what there is to tell of these objects together."""
    mask = [pixel for pixels in found for pixel in pixels]
    area = len(mask)
    return {
        "area": area,
        "centre_x": sum(pixel % picture.width for pixel in mask) / area if area else None,
        "centre_y": sum(pixel // picture.width for pixel in mask) / area if area else None,
        "height": picture.height,
        "largest": max(map(len, found), default=0),
        "objects": len(found),
        "share": area / len(picture.pixels),
        "width": picture.width,
    }


if __name__ == "__main__":
    sys.exit(job.run(compute))
