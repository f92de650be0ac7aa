"""MethodService: the methods an administrator has installed."""

import asyncio
from typing import Any

from google.protobuf import json_format

from dshpc.v1 import method_service_pb2
from dshpc_server import errors
from dshpc_server.methods import catalog, method
from dshpc_server.transport import edge, moments, options, pages

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
        response = method_service_pb2.ListMethodsResponse(
            methods=[_message(current[name], active=True) for name in names[:size]]
        )
        if len(names) > size:
            response.next_page_token = pages.token(names[size - 1], _LISTING)
        return response

    async def get_method(
        self, asked: method_service_pb2.GetMethodRequest, call: edge.Call
    ) -> method_service_pb2.GetMethodResponse:
        """One method and its versions."""
        del call
        newest = self._catalog.current().get(asked.method_name)
        if newest is None:
            raise errors.NotFoundError("method", asked.method_name)
        versions = await asyncio.to_thread(self._catalog.versions, asked.method_name)
        return method_service_pb2.GetMethodResponse(
            method=_message(newest, active=True),
            versions=[
                _message(version, active=version.function_hash == newest.function_hash)
                for version in versions
            ],
        )


def _message(version: method.MethodVersion, *, active: bool) -> method_service_pb2.Method:
    return method_service_pb2.Method(
        method_name=version.name,
        function_hash=version.function_hash,
        version=version.version,
        description=version.description,
        parameters=[_parameter(parameter) for parameter in version.parameters],
        inputs=version.inputs,
        create_time=moments.timestamp(version.created_at),
        active=active,
    )


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
