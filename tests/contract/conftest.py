"""Assertions of the suites that several adapters run say what they compared, as those of tests."""

import pytest

# Before any of them is imported.
pytest.register_assert_rewrite("contract")
