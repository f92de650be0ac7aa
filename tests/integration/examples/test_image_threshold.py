"""image_threshold agrees with a search over all thresholds by exact fractions."""

import collections
import fractions
import pathlib

import pytest

from support import examples_runs as examples


def read_pixels(file_name: str) -> list[int]:
    content = (examples.DATA / file_name).read_bytes()
    if content.startswith(b"P2"):
        return [int(word) for word in content.split()[4:]]
    return list(content.split(b"\n", 3)[3])


def variance_within(counts: list[int], threshold: int) -> fractions.Fraction:
    """Add up the squared distances to the mean of both parts, without rounding."""
    total = fractions.Fraction(0)
    for tones in (range(threshold + 1), range(threshold + 1, len(counts))):
        size = sum(counts[tone] for tone in tones)
        if size:
            mean = fractions.Fraction(sum(tone * counts[tone] for tone in tones), size)
            total += sum(counts[tone] * (tone - mean) ** 2 for tone in tones)
    return total


@pytest.mark.parametrize(
    ("file_name", "white", "threshold"),
    # The thresholds: computed with numpy 2.4.6 as the least variance within the parts.
    [("flower.pgm", 255, 100), ("digits.pgm", 16, 6)],
)
def test_otsus_threshold_leaves_the_least_variance_within(
    file_name: str, white: int, threshold: int
) -> None:
    pixels = read_pixels(file_name)
    tally = collections.Counter(pixels)
    counts = [tally[tone] for tone in range(white + 1)]
    best = min(range(white), key=lambda tone: variance_within(counts, tone))
    answer = examples.run("image_threshold", file_name).answer
    assert answer["threshold"] == best == threshold
    assert answer["bright"] == sum(counts[best + 1 :])
    assert answer["bright"] + answer["dark"] == answer["width"] * answer["height"] == len(pixels)


def test_a_fixed_threshold_splits_there() -> None:
    pixels = read_pixels("flower.pgm")
    bright = [pixel for pixel in pixels if pixel > 60]
    answer = examples.run("image_threshold", "flower.pgm", mode="fixed", threshold=60).answer
    assert answer["bright"] == len(bright) == 20822
    assert answer["bright_mean"] == pytest.approx(133.5170492748055, rel=1e-14)
    assert answer["bright_share"] == pytest.approx(len(bright) / len(pixels), rel=1e-14)


def test_a_part_without_pixels_has_no_mean() -> None:
    answer = examples.run("image_threshold", "digits.pgm", mode="fixed", threshold=16).answer
    assert (answer["bright"], answer["bright_mean"]) == (0, None)


def test_the_picture_is_plain_pgm_of_two_tones() -> None:
    run = examples.run("image_threshold", "digits.pgm", mode="fixed", threshold=8, output="picture")
    magic, width, height, white, *tones = run.output.split()
    assert (magic, width, height, white) == ("P2", "80", "80", "1")
    assert tones == ["1" if pixel > 8 else "0" for pixel in read_pixels("digits.pgm")]
    assert max(map(len, run.output.splitlines())) <= 70


def test_comments_and_two_bytes_a_pixel_are_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "deep.pgm"
    header = b"P5 # a comment\n# another\n2 2\n1000\n"
    path.write_bytes(header + b"\x00\x01\x00\x02\x03\xe7\x03\xe8")
    answer = examples.run("image_threshold", path).answer
    assert (answer["threshold"], answer["dark_mean"], answer["bright_mean"]) == (2, 1.5, 999.5)


def test_what_is_no_picture_is_refused(tmp_path: pathlib.Path) -> None:
    cases = {
        b"\x89PNG\r\n": "it has no header",
        b"P5\n2 2\n255\nabc": "it ends too soon",
        b"P2\n2 1\n7\n1 9\n": "a pixel is brighter than white",
        b"P2\n2 1\n7\n1 -\n": "a pixel is not a number",
        b"P5\n0 2\n255\nab": "its header is out of range",
    }
    paths = [tmp_path / f"{number}.pgm" for number in range(len(cases))]
    for path, content in zip(paths, cases, strict=True):
        path.write_bytes(content)
    runs = examples.run_all("image_threshold", [(path, {}) for path in paths])
    assert [(run.exit_code, run.output) for run in runs] == [(78, "")] * len(cases)
    assert [run.log for run in runs] == [
        f"the data are not a PGM picture: {reason}\n" for reason in cases.values()
    ]
