"""A server with scripted answers on a free port, and a record of what it was asked.

By default every config is answered as completed with the output `output INDEX`, batches and files
are kept in memory, and lists have small pages. A test changes an attribute to make it misbehave;
what is common to all calls is in `fake_script`, batches are in `fake_batches`, files in
`fake_files` and single jobs in `fake_jobs`.
"""

import contextlib
from collections.abc import Iterator
from concurrent import futures

import grpc

from dshpc.v1 import (
    batch_service_pb2_grpc,
    file_service_pb2_grpc,
    job_service_pb2_grpc,
    method_service_pb2,
    method_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
)
from support import fake_batches, fake_files, fake_jobs, fake_script

BATCH_ID = fake_batches.BATCH_ID
PAGE_METHODS = 2


class FakeService(
    fake_batches.FakeBatches,
    fake_jobs.FakeJobs,
    fake_files.FakeFiles,
    method_service_pb2_grpc.MethodServiceServicer,
    server_service_pb2_grpc.ServerServiceServicer,
):
    """The scripted server; `target` is where it listens."""

    def __init__(self) -> None:
        super().__init__()
        self.target = ""
        self.methods: list[method_service_pb2.Method] = []
        self.method_requests: list[method_service_pb2.GetMethodRequest] = []

    def ListMethods(  # noqa: N802  # the contract's name
        self, request: method_service_pb2.ListMethodsRequest, context: grpc.ServicerContext
    ) -> method_service_pb2.ListMethodsResponse:
        self.enter("ListMethods", context)
        start = int(request.page_token or 0)
        end = start + PAGE_METHODS
        return method_service_pb2.ListMethodsResponse(
            methods=self.methods[start:end],
            next_page_token=str(end) if end < len(self.methods) else "",
        )

    def GetMethod(  # noqa: N802  # the contract's name
        self, request: method_service_pb2.GetMethodRequest, context: grpc.ServicerContext
    ) -> method_service_pb2.GetMethodResponse:
        self.enter("GetMethod", context)
        self.method_requests.append(request)
        name, wanted = request.method_name, request.function_hash
        versions = [method for method in self.methods if method.method_name == name]
        found = [method for method in versions if wanted in ("", method.function_hash)]
        if not found:
            fake_script.abort(context, grpc.StatusCode.NOT_FOUND, f"method '{name}' not found")
        return method_service_pb2.GetMethodResponse(method=found[0], versions=versions)

    def GetServerInfo(  # noqa: N802  # the contract's name
        self,
        request: server_service_pb2.GetServerInfoRequest,  # noqa: ARG002  # it is empty
        context: grpc.ServicerContext,
    ) -> server_service_pb2.GetServerInfoResponse:
        self.enter("GetServerInfo", context)
        return server_service_pb2.GetServerInfoResponse(
            version="0.1.0",
            engine="local",
            store="sqlite",
            slots=2,
            limits=server_service_pb2.Limits(max_jobs_per_request=100_000),
            features=["batches", "files"],
        )


@contextlib.contextmanager
def running() -> Iterator[FakeService]:
    """Serve until the block is left."""
    service = FakeService()
    with futures.ThreadPoolExecutor(max_workers=8) as threads:
        server = grpc.server(threads)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(service, server)
        batch_service_pb2_grpc.add_BatchServiceServicer_to_server(service, server)
        file_service_pb2_grpc.add_FileServiceServicer_to_server(service, server)
        method_service_pb2_grpc.add_MethodServiceServicer_to_server(service, server)
        server_service_pb2_grpc.add_ServerServiceServicer_to_server(service, server)
        service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield service
        finally:
            service.release.set()
            server.stop(None).wait()
