"""Settings are read without what the machine that runs the tests has set."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("DSHPC_")]:
        monkeypatch.delenv(name)
