"""Sums up what `mask_features` told of fifty masks: one feature, over all of them.

Each mask is an input of its own, so that each can be the output of another job.
"""

import json
import os
import pathlib
import statistics
import sys

import job

MASKS = 50
FEATURES = ("area", "largest", "objects", "share", "specks")


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    del input_path  # the first of the fifty
    feature = parameters.choice("feature", FEATURES)
    values = [read(f"mask_{number:02}", feature) for number in range(1, MASKS + 1)]
    return {
        "feature": feature,
        "highest": max(values),
        "lowest": min(values),
        "masks": len(values),
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "values": values,
    }


def read(name: str, feature: str) -> float:
    """Return one feature of the mask that an input describes."""
    path = pathlib.Path(os.environ[f"INPUT_FILE_{name.upper()}"])
    try:
        features = json.loads(path.read_bytes())
    except ValueError as error:
        raise job.UnfitError(f"input '{name}' is not JSON") from error
    value = features.get(feature) if isinstance(features, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise job.UnfitError(f"input '{name}' tells no number for '{feature}'")
    return value


if __name__ == "__main__":
    sys.exit(job.run(compute))
