"""Fixtures of the batches' own tests."""

import pathlib
from collections.abc import AsyncIterator

import pytest

from support import batches_assembly, methods_site


@pytest.fixture
def site(tmp_path: pathlib.Path) -> methods_site.Site:
    """Methods `hello` (no input) and `count` (one)."""
    return batches_assembly.site_in(tmp_path)


@pytest.fixture
async def parts(
    tmp_path: pathlib.Path, site: methods_site.Site
) -> AsyncIterator[batches_assembly.Assembly]:
    """A server's parts over a real store; nothing is dispatched."""
    made = batches_assembly.Assembly(tmp_path, site)
    async with made.storing():
        yield made
