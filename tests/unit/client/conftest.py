"""A fake server for the client's tests."""

from collections.abc import Iterator

import pytest

from dshpc.client import Client
from support import fake_service
from support.fake_service import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service.running() as service:
        yield service


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    with Client(service.target) as client:
        yield client
