"""Fixtures of the integration tests: a server's parts, in process, over a real store."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from dshpc_server.batches import dispatcher, membership, reconciler
from support import batches_assembly, methods_site

Start = Callable[..., batches_assembly.Assembly]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits before it tries again is not what these tests are about."""
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(reconciler, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(membership, "RETRY_SECONDS", 0.01)


@pytest.fixture
def site(tmp_path: pathlib.Path) -> methods_site.Site:
    """Methods `hello` (no input) and `count` (one)."""
    return batches_assembly.site_in(tmp_path)


@pytest.fixture
def start(tmp_path: pathlib.Path, site: methods_site.Site) -> Start:
    """Put a server together; a second one over the same folder is the server after a restart."""

    def start(**options: Any) -> batches_assembly.Assembly:  # noqa: ANN401 - passed on by name
        return batches_assembly.Assembly(tmp_path, site, **options)

    return start
