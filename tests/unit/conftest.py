"""What holds for every unit test: nobody waits for the disk, since none of them cuts its power."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_forced_to_disk() -> Iterator[None]:
    # Not by `monkeypatch`: what a test patches itself would be undone after its folder is removed.
    with pytest.MonkeyPatch.context() as patched:
        for name in ("fsync", "fdatasync"):
            patched.setattr(os, name, lambda _: None)
        yield
