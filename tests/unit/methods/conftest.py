"""Fixtures of the methods' own tests."""

import pathlib

import pytest

from support import methods_site


@pytest.fixture
def site(tmp_path: pathlib.Path) -> methods_site.Site:
    """A methods folder without methods."""
    return methods_site.Site(tmp_path)
