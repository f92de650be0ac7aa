"""Least squares with the standard library alone."""
