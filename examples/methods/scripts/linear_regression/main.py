"""Fits a linear regression by least squares to the rows that are complete.

Answers with coefficients, standard errors and how well they fit, and with
nothing about single rows. Refuses a model that has so many coefficients that
it would nearly repeat the data.
"""

import pathlib
import sys

import disclosure
import job
import table
from fitting import least_squares, qr

INTERCEPT = "(intercept)"


def compute(input_path: pathlib.Path, parameters: job.Parameters) -> object:
    minimum = disclosure.minimum_cell_count(parameters)
    target = parameters.text("target")
    predictors = parameters.texts("predictors")
    with_intercept = parameters.flag("intercept")
    check(target, predictors)
    observed, *columns = table.read(input_path).complete_columns([target, *predictors])
    if with_intercept:
        predictors = [INTERCEPT, *predictors]
        columns = [[1.0] * len(observed), *columns]
    freedom = len(observed) - len(columns)
    disclosure.require(freedom, minimum, "complete rows for so many predictors")
    try:
        fit = least_squares.fit(columns, observed, centred=with_intercept)
    except qr.DependentColumnsError as error:
        raise job.UnfitError("the predictors are linearly dependent") from error
    return {
        "coefficients": dict(zip(predictors, map(describe, fit.coefficients), strict=True)),
        "degrees_of_freedom": freedom,
        "n": len(observed),
        "r2": fit.r2,
        "residual_standard_deviation": fit.residual_standard_deviation,
        "target": target,
    }


def check(target: str, predictors: list[str]) -> None:
    """Refuse a model that says nothing."""
    if not predictors:
        raise job.UnfitError("parameter 'predictors' names no column")
    if target in predictors:
        raise job.UnfitError(f"column '{target}' is both target and predictor")


def describe(coefficient: least_squares.Coefficient) -> dict[str, float | None]:
    """Put a coefficient into the answer's words; t is undefined for a perfect fit."""
    error = coefficient.standard_error
    return {
        "estimate": coefficient.estimate,
        "standard_error": error,
        "t": coefficient.estimate / error if error else None,
    }


if __name__ == "__main__":
    sys.exit(job.run(compute))
