"""ServerService: what this server is and allows."""

from collections.abc import Callable

import dshpc
from dshpc.v1 import server_service_pb2
from dshpc_server.domain import job
from dshpc_server.engine.port import Capacity
from dshpc_server.transport import edge, limits

FEATURES = (
    "cache_policy",
    "file_deletion",
    "file_download_range",
    "function_hash",
    "inline_output_limit",
    "job_cancel",
    "job_list",
    "job_log",
    "job_wait",
    "method_reload",
    "named_inputs",
    "parameter_defaults",
    "priorities",
    "resubmit_policy",
    "unary_wait",
    "upload_resume",
    "validate_only",
)
"""What a client may want to know this version can do; names are only ever added."""
# What the message can say of an engine that does not know yet what it has.
_MOST_SLOTS = 2**31 - 1
_MOST_BYTES = 2**63 - 1


class ServerServicer:
    """Serves ServerService."""

    def __init__(
        self,
        *,
        engine_name: str,
        store_name: str,
        capacity: Callable[[], Capacity],
        limits: limits.Limits,
    ) -> None:
        self._engine_name = engine_name
        self._store_name = store_name
        self._capacity = capacity
        self._limits = limits

    async def get_server_info(
        self, asked: server_service_pb2.GetServerInfoRequest, call: edge.Call
    ) -> server_service_pb2.GetServerInfoResponse:
        """Describe the server."""
        del asked, call
        capacity = self._capacity()
        longest_seconds = self._limits.max_timeout_seconds
        if capacity.longest_seconds is not None:
            longest_seconds = min(longest_seconds, capacity.longest_seconds)
        return server_service_pb2.GetServerInfoResponse(
            version=dshpc.__version__,
            engine=self._engine_name,
            store=self._store_name,
            slots=min(capacity.cpus, _MOST_SLOTS),
            limits=server_service_pb2.Limits(
                max_jobs_per_request=self._limits.max_jobs_per_request,
                max_request_bytes=self._limits.max_request_bytes,
                max_parameters_bytes=self._limits.max_parameters_bytes,
                max_parameters_nodes=self._limits.max_parameters_nodes,
                max_parameters_depth=self._limits.max_parameters_depth,
                max_inline_output_bytes=limits.MAX_INLINE_OUTPUT_BYTES,
                max_page_size=limits.MAX_PAGE_SIZE,
                max_response_bytes=limits.MAX_RESPONSE_BYTES,
                max_file_bytes=self._limits.max_file_bytes,
                memory_bytes=min(capacity.memory_bytes, _MOST_BYTES),
                max_timeout_seconds=int(longest_seconds),
                max_wait_seconds=int(self._limits.max_wait_seconds),
                inline_output_bytes=self._limits.inline_output_bytes,
                max_attempts=self._limits.max_attempts,
                max_uploads=self._limits.max_uploads,
                max_streams=self._limits.max_streams,
                max_calls=self._limits.max_calls,
                upload_expiry_seconds=int(self._limits.upload_expiry_seconds),
                lowest_priority=job.LOWEST_PRIORITY,
                highest_priority=job.HIGHEST_PRIORITY,
            ),
            features=FEATURES,
        )
