"""A fixture of the tests of the client, and of the command that is made of it."""

import pytest

from dshpc.client import channel


@pytest.fixture(autouse=True)
def grpc_retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gRPC tries again by itself, it tries again without a pause worth waiting for."""
    monkeypatch.setitem(channel._RETRY_POLICY, "initialBackoff", "0.01s")
