"""Both clients offer the same, and gRPC tries again what is safe and nothing else."""

import inspect

import pytest

from dshpc.client import AsyncClient, AsyncRunningBatch, Client, RunningBatch, channel
from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    server_service_pb2,
)

ONE_ATTEMPT = {
    "UploadFile",  # goes on where it was cut, by the client's own doing
    "DeleteFile",  # a second answer would be that there is no such file
}


def surface(kind: type) -> dict[str, list[inspect.Parameter]]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: list(inspect.signature(member).parameters.values())
        for name, member in members
        if not name.startswith("_") or name == "__init__"
    }


@pytest.mark.parametrize(
    ("sync", "asyncio"), [(Client, AsyncClient), (RunningBatch, AsyncRunningBatch)]
)
def test_both_clients_take_the_same(sync: type, asyncio: type) -> None:
    def without_annotations(kind: type) -> dict[str, list[tuple[str, object, object]]]:
        return {
            name: [(p.name, p.kind, p.default) for p in parameters]
            for name, parameters in surface(kind).items()
        }

    assert without_annotations(sync) == without_annotations(asyncio)


@pytest.mark.parametrize("kind", [Client, AsyncClient, RunningBatch, AsyncRunningBatch])
def test_everything_is_documented(kind: type) -> None:
    public = set(surface(kind)) - {"__init__"}
    assert not {name for name in public if not getattr(kind, name).__doc__}


def test_every_call_of_the_contract_is_tried_again_or_has_a_reason_not_to_be() -> None:
    contract = {
        service.full_name: {method.name for method in service.methods}
        for module in (
            batch_service_pb2,
            file_service_pb2,
            job_service_pb2,
            method_service_pb2,
            server_service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    retried = {service: set(methods) for service, methods in channel.RETRIED.items()}

    assert {service: methods - ONE_ATTEMPT for service, methods in contract.items()} == retried


def test_an_asyncio_client_needs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncClient("127.0.0.1:1")
