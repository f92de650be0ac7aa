"""Splits a grey picture (PGM) into a dark and a bright part.

The threshold is given, or found by Otsu's method: the one that leaves the
least variance within the two parts. A pixel above the threshold is bright.
Answers with counts, or with the two-tone picture as plain PGM text.
"""

import pathlib
import sys

import job
import otsu
import pgm

# Plain PGM allows lines of 70 characters: 35 pixels of one digit and a space.
PIXELS_PER_LINE = 35


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    mode = parameters.choice("mode", ("otsu", "fixed"))
    output = parameters.choice("output", ("counts", "picture"))
    try:
        picture = pgm.parse(input_path.read_bytes())
    except pgm.FormatError as error:
        raise job.UnfitError(f"the data are not a PGM picture: {error}") from error
    if mode == "fixed":
        threshold = parameters.integer("threshold", lowest=0, highest=picture.white)
    else:
        threshold = otsu.threshold(otsu.tally(picture.pixels, picture.white))
    return draw(picture, threshold) if output == "picture" else count(picture, threshold)


def count(picture: pgm.Picture, threshold: int) -> dict[str, object]:
    """Count and average both parts; a part without pixels has no mean."""
    bright = [pixel for pixel in picture.pixels if pixel > threshold]
    dark_total = sum(picture.pixels) - sum(bright)
    dark_count = len(picture.pixels) - len(bright)
    return {
        "bright": len(bright),
        "bright_mean": sum(bright) / len(bright) if bright else None,
        "bright_share": len(bright) / len(picture.pixels),
        "dark": dark_count,
        "dark_mean": dark_total / dark_count if dark_count else None,
        "height": picture.height,
        "threshold": threshold,
        "white": picture.white,
        "width": picture.width,
    }


def draw(picture: pgm.Picture, threshold: int) -> str:
    """Return the two-tone picture: 0 is dark, 1 is bright."""
    tones = ["1" if pixel > threshold else "0" for pixel in picture.pixels]
    lines = [
        " ".join(tones[start : start + PIXELS_PER_LINE])
        for start in range(0, len(tones), PIXELS_PER_LINE)
    ]
    return "\n".join(["P2", f"{picture.width} {picture.height}", "1", *lines, ""])


if __name__ == "__main__":
    sys.exit(job.run(compute))
