"""Keeps small groups out of the answer.

Promises: a count that is not zero and is below the minimum cell count is never
in an answer. A client may ask for a stricter minimum than the default, and for
a laxer one only down to the floor that the site has set here.

Each method is a folder that stands alone, so each has its own copy of this file.
"""

import job

FLOOR = 3
HIGHEST = 1_000_000


def minimum_cell_count(parameters: job.Parameters) -> int:
    """Return the fewest persons that a cell of the answer may stand for."""
    return parameters.integer("min_cell_count", lowest=FLOOR, highest=HIGHEST)


def require(count: int, minimum: int, what: str) -> None:
    """Refuse the job unless there are enough of `what`."""
    if count < minimum:
        raise job.UnfitError(f"too few {what}: the minimum cell count is {minimum}")


def shown(count: int, minimum: int) -> int | None:
    """Return a count as the answer may show it: None hides it."""
    return None if 0 < count < minimum else count
