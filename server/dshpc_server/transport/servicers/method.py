"""MethodService: the methods an administrator has installed.

Promise: an answer stays below what every client accepts (`limits.DEFAULT_RESPONSE_BYTES`), but for
one method that is larger by itself.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from dshpc.v1 import method_service_pb2
from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.methods import catalog, method
from dshpc_server.transport import edge, limits, moments, options, pages

_LISTING = "methods"


class MethodServicer:
    """Serves MethodService."""

    def __init__(self, *, catalog: catalog.Catalog) -> None:
        self._catalog = catalog

    async def list_methods(
        self, asked: method_service_pb2.ListMethodsRequest, call: edge.Call
    ) -> method_service_pb2.ListMethodsResponse:
        """One page of the newest versions, by name."""
        del call
        size = options.page_size(asked.page_size)
        after = pages.name(asked.page_token, _LISTING)
        current = self._catalog.current()
        names = [name for name in sorted(current) if name > after]
        methods = _fitting([current[name] for name in names[:size]])
        response = method_service_pb2.ListMethodsResponse(methods=methods)
        if len(names) > len(methods):
            response.next_page_token = pages.token(names[len(methods) - 1], _LISTING)
        return response

    async def get_method(
        self, asked: method_service_pb2.GetMethodRequest, call: edge.Call
    ) -> method_service_pb2.GetMethodResponse:
        """One version of a method, and all that were loaded."""
        del call
        name, function_hash = _read(asked)
        newest = self._catalog.current().get(name)
        active = newest.function_hash if newest else ""
        version = newest
        if function_hash:
            version = await asyncio.to_thread(self._catalog.find, name, function_hash)
        if version is None:
            if function_hash:
                raise errors.NotFoundError(f"version of method '{name}'", function_hash)
            raise errors.NotFoundError("method", name)
        return _answer(version, self._catalog.versions(name), active)


def _read(asked: method_service_pb2.GetMethodRequest) -> tuple[str, str]:
    """The name and the hash that are asked for; InvalidRequestError if they cannot be any."""
    name = asked.method_name
    if not name:
        raise errors.InvalidRequestError(
            Violation(field="method_name", description="must not be empty")
        )
    if len(name.encode()) > limits.MAX_METHOD_NAME_BYTES:
        raise errors.InvalidRequestError(
            Violation(
                field="method_name", description=f"is over {limits.MAX_METHOD_NAME_BYTES} bytes"
            )
        )
    if asked.function_hash:
        options.file_hash("function_hash", asked.function_hash)
    return name, asked.function_hash


def _answer(
    version: method.MethodVersion, versions: Sequence[method.MethodVersion], active: str
) -> method_service_pb2.GetMethodResponse:
    response = method_service_pb2.GetMethodResponse(
        method=_message(version, active=version.function_hash == active),
        versions=[_message(each, active=each.function_hash == active) for each in versions],
    )
    if response.ByteSize() > limits.DEFAULT_RESPONSE_BYTES:
        # All versions are told, but what each takes is to be asked for by its hash.
        for message in response.versions:
            for field in ("parameters", "parameters_schema"):
                message.ClearField(field)
    return response


def _fitting(versions: Sequence[method.MethodVersion]) -> list[method_service_pb2.Method]:
    """As many of these as an answer may hold, but at least one."""
    messages: list[method_service_pb2.Method] = []
    size_bytes = 0
    for version in versions:
        message = _message(version, active=True)
        size_bytes += message.ByteSize()
        if messages and size_bytes > limits.DEFAULT_RESPONSE_BYTES:
            break
        messages.append(message)
    return messages


def _message(version: method.MethodVersion, *, active: bool) -> method_service_pb2.Method:
    message = method_service_pb2.Method(
        method_name=version.name,
        function_hash=version.function_hash,
        version=version.version,
        description=version.description,
        parameters=[_parameter(parameter) for parameter in version.parameters],
        inputs=version.inputs,
        create_time=moments.timestamp(version.created_at),
        active=active,
    )
    json_format.ParseDict(version.parameter_schema(), message.parameters_schema)
    return message


def _parameter(parameter: method.Parameter) -> method_service_pb2.MethodParameter:
    message = method_service_pb2.MethodParameter(
        name=parameter.name,
        type=parameter.type,
        description=parameter.description,
        required=parameter.required and not parameter.has_default,
    )
    if parameter.has_default:
        # The stubs know objects only; a Value is parsed from any JSON.
        default: Any = parameter.default
        json_format.ParseDict(default, message.default_value)
    return message
