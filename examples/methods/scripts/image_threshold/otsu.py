"""Finds the threshold that splits a picture best, by Otsu's method.

All in integers, so the answer does not depend on rounding.
"""

from collections.abc import Sequence


def tally(pixels: Sequence[int], white: int) -> list[int]:
    """Count how many pixels have each tone."""
    counts = [0] * (white + 1)
    for pixel in pixels:
        counts[pixel] += 1
    return counts


def threshold(counts: Sequence[int]) -> int:
    """Return the tone up to which pixels are dark; the lowest of equally good ones."""
    total_count = sum(counts)
    total_sum = sum(tone * count for tone, count in enumerate(counts))
    best, best_above, best_below = 0, 0, 1
    dark_count = dark_sum = 0
    for tone, count in enumerate(counts):
        dark_count += count
        dark_sum += tone * count
        # The variance between the parts is above / below, but for a factor.
        above = (dark_sum * total_count - total_sum * dark_count) ** 2
        below = dark_count * (total_count - dark_count)
        if below and above * best_below > best_above * below:
            best, best_above, best_below = tone, above, below
    return best
