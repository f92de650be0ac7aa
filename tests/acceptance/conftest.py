"""pytest-grpc's fixtures, driving the real asyncio server in a thread of its own."""

import pathlib
from collections.abc import Callable, Iterator

import grpc
import pytest

from dshpc.v1 import job_service_pb2_grpc
from support import calls, live_server, site


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def grpc_server(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path
) -> Iterator[str]:
    """The real server instead of pytest-grpc's synchronous one; its address."""
    folder = tmp_path_factory.mktemp("server")
    with live_server.in_thread(live_server.settings(folder, methods_dir)) as address:
        yield address


@pytest.fixture(scope="module")
def server_process(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path
) -> Iterator[str]:
    """The real server in a process of its own; its address.

    For tests with a loop of their own: two loops with grpc.aio in one process are asking for
    trouble (grpc issue 25364), and on Python 3.13 one of them ended it.
    """
    with live_server.as_process(tmp_path_factory.mktemp("process"), methods_dir) as server:
        yield server.address


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: str) -> str:
    """Where pytest-grpc's channels go."""
    return grpc_server


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Callable[[grpc.Channel], job_service_pb2_grpc.JobServiceStub]:
    """What `grpc_stub` is."""
    return job_service_pb2_grpc.JobServiceStub


@pytest.fixture(scope="module")
def service(grpc_channel: grpc.Channel) -> calls.Service:
    """All stubs of the contract, on pytest-grpc's channel."""
    return calls.Service(grpc_channel)
