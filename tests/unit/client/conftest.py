"""A fake server, and both clients on it: every test that asks for `client` runs twice."""

from collections.abc import Iterator

import pytest

from dshpc.client import Client, RetryPolicy
from support import both_clients, fake_service
from support.both_clients import Connect
from support.client_fixtures import grpc_retries_at_once
from support.fake_service import FakeService

__all__ = ["grpc_retries_at_once"]

HASTY = RetryPolicy(attempts=4, first_pause_seconds=0.01, longest_pause_seconds=0.05)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service.running() as service:
        yield service


@pytest.fixture(params=both_clients.KINDS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Connect a client of either kind to a target."""
    kind: str = request.param
    return lambda target, **named: both_clients.connected(kind, target, **named)


@pytest.fixture
def client(service: FakeService, connect: Connect) -> Iterator[Client]:
    with connect(service.target, retry=HASTY) as client:
        yield client
