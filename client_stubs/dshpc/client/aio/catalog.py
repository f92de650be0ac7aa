"""What the server offers, for asyncio: its methods, and itself."""

from collections.abc import AsyncIterator

from dshpc.client.aio import connection
from dshpc.v1 import method_service_pb2, server_service_pb2


class Catalog(connection.Connection):
    """The calls about methods and the server."""

    async def methods(self) -> AsyncIterator[method_service_pb2.Method]:
        """Yield the newest version of every installed method, by name."""
        request = method_service_pb2.ListMethodsRequest()
        async for page in self._pages(self._methods.ListMethods, request):
            for method in page.methods:
                yield method

    async def method(
        self, name: str, *, function_hash: str = ""
    ) -> method_service_pb2.GetMethodResponse:
        """Return one method, in the newest version or the one named, and all its versions."""
        request = method_service_pb2.GetMethodRequest(method_name=name, function_hash=function_hash)
        return await self._call(self._methods.GetMethod, request)

    async def server_info(self) -> server_service_pb2.GetServerInfoResponse:
        """Return what the server is and allows."""
        request = server_service_pb2.GetServerInfoRequest()
        return await self._call(self._server.GetServerInfo, request)
