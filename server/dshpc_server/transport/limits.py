"""The limits that the edge enforces and GetServerInfo publishes."""

import dataclasses

MAX_CONFIG_ID_BYTES = 256
MAX_DISPLAY_NAME_BYTES = 256
MAX_METHOD_NAME_BYTES = 256
MAX_LABEL_BYTES = 1024
"""A file's name or media type."""
DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 5000
DEFAULT_RESPONSE_BYTES = 3 * 1024 * 1024
"""Below the 4 MiB that every gRPC client accepts without being told to."""
MAX_RESPONSE_BYTES = 32 * 1024 * 1024
MAX_INLINE_OUTPUT_BYTES = 1024 * 1024
"""Upper bound of what a caller may have answered inline."""
MAX_HASHES_PER_REQUEST = 100_000
CHUNK_BYTES = 1024 * 1024
"""What a download sends in one message, and an upload best does."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits that an administrator can set."""

    max_jobs_per_request: int
    max_request_bytes: int
    max_parameters_bytes: int
    max_parameters_nodes: int
    max_parameters_depth: int
    inline_output_bytes: int
    max_file_bytes: int
    max_timeout_seconds: float
    max_wait_seconds: float
    write_stall_seconds: float
    max_attempts: int
    max_calls: int
    """Unary calls at one time."""
    max_streams: int
    """Server streams at one time."""
    max_uploads: int
    """Uploads at one time."""
    upload_stall_seconds: float
    upload_expiry_seconds: float
