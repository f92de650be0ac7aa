"""A server with scripted answers on a free port, and a record of what it was asked.

By default every config is answered as completed with the output `output INDEX`, files are kept in
memory, and lists have small pages. A test changes an attribute to make it misbehave; what is common
to all calls is in `fake_script`, files are in `fake_files` and single jobs in `fake_jobs`.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc

from dshpc.v1 import (
    batch_service_pb2,
    batch_service_pb2_grpc,
    file_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    method_service_pb2,
    method_service_pb2_grpc,
    server_service_pb2,
    server_service_pb2_grpc,
    types_pb2,
)
from support import fake_files, fake_jobs, fake_rows, fake_script

BATCH_ID = "0195b1c0-0000-7000-8000-000000000001"
PAGE_ROWS = 2

Answer = Callable[[int, types_pb2.JobConfig], types_pb2.MultiJobResult]


class FakeService(
    fake_jobs.FakeJobs,
    fake_files.FakeFiles,
    batch_service_pb2_grpc.BatchServiceServicer,
    method_service_pb2_grpc.MethodServiceServicer,
    server_service_pb2_grpc.ServerServiceServicer,
):
    """The scripted server; `target` is where it listens."""

    def __init__(self) -> None:
        super().__init__()
        self.target = ""
        self.answer: Answer = fake_rows.completed
        self.transitions: tuple[types_pb2.JobStatus.ValueType, ...] = ()
        """What each row goes through before it is answered, when transitions are asked for."""
        self.breaks_after: int | None = None
        """Results after which a stream breaks."""
        self.break_code: grpc.StatusCode | None = grpc.StatusCode.UNAVAILABLE
        """How it breaks; None: it ends as if all were well."""
        self.holds_after: int | None = None
        """Results after which a stream says nothing more until `release` is set."""
        self.inline_rows: int | None = None
        """Rows of a unary answer; the others are left to pages."""
        self.methods: list[method_service_pb2.Method] = []
        self.rows: list[types_pb2.MultiJobResult] = []

        self.stream_ended = threading.Event()
        self.batches: list[
            job_service_pb2.SimulateJobsRequest | job_service_pb2.StreamSimulateJobsRequest
        ] = []
        self.pages: list[batch_service_pb2.ListBatchResultsRequest] = []
        self.method_requests: list[method_service_pb2.GetMethodRequest] = []

    def SimulateJobs(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.SimulateJobsRequest, context: grpc.ServicerContext
    ) -> job_service_pb2.SimulateJobsResponse:
        self.enter("SimulateJobs", context)
        self.batches.append(request)
        self.rows = [self.answer(index, config) for index, config in enumerate(request.jobs)]
        shown = self.rows if self.inline_rows is None else self.rows[: self.inline_rows]
        is_cut = len(shown) < len(self.rows)
        return job_service_pb2.SimulateJobsResponse(
            results=shown,
            statistics=fake_rows.statistics(self.rows),
            batch_id="" if request.options.validate_only else BATCH_ID,
            next_page_token=str(len(shown)) if is_cut else "",
        )

    def StreamSimulateJobs(  # noqa: N802  # the contract's name
        self, request: job_service_pb2.StreamSimulateJobsRequest, context: grpc.ServicerContext
    ) -> Iterator[job_service_pb2.StreamSimulateJobsResponse]:
        self.enter("StreamSimulateJobs", context)
        self.batches.append(request)
        context.add_callback(self.stream_ended.set)
        self.rows = [self.answer(index, config) for index, config in enumerate(request.jobs)]
        event = job_service_pb2.StreamSimulateJobsResponse
        batch_id = "" if request.options.validate_only else BATCH_ID
        yield event(
            accepted=job_service_pb2.BatchAccepted(batch_id=batch_id, total_jobs=len(self.rows))
        )
        for number, row in enumerate(self.rows):
            if number == self.holds_after:
                self.release.wait()
            if number == self.breaks_after:
                if self.break_code is not None:
                    context.abort(self.break_code, "the server goes away")
                return
            if request.stream.include_transitions:
                for status in self.transitions:
                    yield event(result=fake_rows.moving(number, request.jobs[number], status))
            if number % 2:  # both forms, as a server may send them
                yield event(results=job_service_pb2.MultiJobResults(results=[row]))
            else:
                yield event(result=row)
        yield event(statistics=fake_rows.statistics(self.rows))

    def ListBatchResults(  # noqa: N802  # the contract's name
        self, request: batch_service_pb2.ListBatchResultsRequest, context: grpc.ServicerContext
    ) -> batch_service_pb2.ListBatchResultsResponse:
        self.enter("ListBatchResults", context)
        self.pages.append(request)
        start = int(request.page_token or 0)
        end = start + PAGE_ROWS
        return batch_service_pb2.ListBatchResultsResponse(
            results=self.rows[start:end],
            next_page_token=str(end) if end < len(self.rows) else "",
        )

    def ListMethods(  # noqa: N802  # the contract's name
        self, request: method_service_pb2.ListMethodsRequest, context: grpc.ServicerContext
    ) -> method_service_pb2.ListMethodsResponse:
        self.enter("ListMethods", context)
        start = int(request.page_token or 0)
        end = start + PAGE_ROWS
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
