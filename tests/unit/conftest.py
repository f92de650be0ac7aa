"""What holds for every unit test: nobody waits for the disk, since none of them cuts its power."""

import os

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_forced_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)
