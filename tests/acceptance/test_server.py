"""What a server says about itself: methods, info, health, reflection."""

import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import dshpc
from dshpc.v1 import method_service_pb2, server_service_pb2
from support import calls

SERVICES = {f"dshpc.v1.{name}Service" for name in ("Job", "Batch", "File", "Method", "Server")}


def _check(channel: grpc.Channel, service: str) -> health_pb2.HealthCheckResponse:
    call: grpc.UnaryUnaryMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ] = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return call(health_pb2.HealthCheckRequest(service=service), timeout=30)


def _watched(channel: grpc.Channel, service: str) -> health_pb2.HealthCheckResponse:
    """The first that Watch tells; then the call is given up."""
    call: grpc.UnaryStreamMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ] = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    watching = call(health_pb2.HealthCheckRequest(service=service), timeout=30)
    first = next(iter(watching))
    watching.cancel()
    return first


def test_methods_are_listed_by_name_page_by_page(service: calls.Service) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = service.methods.ListMethods(
            method_service_pb2.ListMethodsRequest(page_size=3, page_token=token)
        )
        names += [method.method_name for method in page.methods]
        token = page.next_page_token
        if not token:
            break
    assert names == sorted(names)
    assert {"echo", "hold", "two_inputs", "declared"} <= set(names)


def test_a_method_tells_its_parameters_and_versions(service: calls.Service) -> None:
    answer = service.methods.GetMethod(method_service_pb2.GetMethodRequest(method_name="declared"))
    method = answer.method
    assert [version.function_hash for version in answer.versions] == [method.function_hash]
    assert method.active
    assert list(method.inputs) == ["input"]
    told = [(p.name, p.type, p.required) for p in method.parameters]
    assert told == [
        ("bins", "integer", False),
        ("label", "string", True),
        ("scale", "number", False),
    ]
    assert method.parameters[0].default_value.number_value == 10
    assert not method.parameters[1].HasField("default_value")


def test_an_unknown_method_is_not_found(service: calls.Service) -> None:
    asked = method_service_pb2.GetMethodRequest(method_name="nope")
    refused = calls.refusal(lambda: service.methods.GetMethod(asked))
    assert refused.code == grpc.StatusCode.NOT_FOUND


def test_the_server_describes_itself(service: calls.Service) -> None:
    info = service.server.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert (info.version, info.engine, info.store) == (dshpc.__version__, "local", "sqlite")
    assert info.slots == 2
    assert info.limits.max_jobs_per_request == 100_000
    below_0 = [field.name for field, value in info.limits.ListFields() if value < 0]
    assert below_0 == ["lowest_priority"]
    assert len(info.limits.ListFields()) == len(info.limits.DESCRIPTOR.fields)
    assert list(info.features) == sorted(info.features)


@pytest.mark.parametrize("name", ["", "dshpc.engine", *sorted(SERVICES)])
def test_health_is_serving(grpc_channel: grpc.Channel, name: str) -> None:
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    assert _check(grpc_channel, name) == serving
    assert _watched(grpc_channel, name) == serving


def test_the_health_of_an_unknown_service_is_not_found(grpc_channel: grpc.Channel) -> None:
    refused = calls.refusal(lambda: _check(grpc_channel, "nope"))
    assert refused.code == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_every_service(grpc_channel: grpc.Channel, version: str) -> None:
    asked = threading.Event()

    def ask() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="*")
        asked.wait(30)

    call = grpc_channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answer = next(call(ask(), timeout=30))
    asked.set()
    names = {service.name for service in answer.list_services_response.service}
    assert names >= SERVICES | {"grpc.health.v1.Health"}
