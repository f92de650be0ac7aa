"""Limits, parameters and JSON values for tests of the edge."""

import dataclasses
from collections.abc import Mapping

from google.protobuf import json_format, struct_pb2
from hypothesis import strategies as st

from dshpc_server.domain import identity
from dshpc_server.transport import limits

LIMITS = limits.Limits(
    max_jobs_per_request=8,
    max_request_bytes=1 << 20,
    max_parameters_bytes=4096,
    max_parameters_nodes=200,
    max_parameters_depth=6,
    inline_output_bytes=64,
    max_file_bytes=1 << 20,
    max_timeout_seconds=3600.0,
    max_wait_seconds=100.0,
    write_stall_seconds=5.0,
    max_attempts=5,
    max_calls=100,
    max_streams=100,
    max_uploads=4,
    upload_stall_seconds=5.0,
    upload_expiry_seconds=3600.0,
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
json_objects = st.dictionaries(st.text(max_size=5), json_values, max_size=4)


def within(**changed: float) -> limits.Limits:
    """Return the limits with some of them changed."""
    return dataclasses.replace(LIMITS, **changed)  # type: ignore[arg-type]  # by name


def struct(value: Mapping[str, identity.Json]) -> struct_pb2.Struct:
    """Return a JSON object as a client sends it."""
    return json_format.ParseDict(dict(value), struct_pb2.Struct())


def nested(levels: int) -> struct_pb2.Struct:
    """Return objects in objects, so many of them."""
    outermost = innermost = struct_pb2.Struct()
    for _ in range(levels - 1):
        innermost = innermost.fields["in"].struct_value
    innermost.SetInParent()
    return outermost
