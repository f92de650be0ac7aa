"""Hostile values, sizes and bytes: each refused clearly, and nothing is stored or run."""

import itertools
import math
import pathlib
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf import message, struct_pb2

from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    types_pb2,
)
from dshpc_server.transport import wire
from support import calls, hostile_rpcs, hostile_state, live_server, site

CODE = grpc.StatusCode
HASH = "a" * 64


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("values") / "data"


@pytest.fixture(scope="module")
def channel(data_dir: pathlib.Path) -> Iterator[grpc.Channel]:
    methods_dir = site.write(data_dir.parent)
    site.install(methods_dir, "tally", f'echo run >> "{data_dir.parent}/tally"', inputs=[])
    settings = live_server.settings(data_dir.parent, methods_dir)
    options = [("grpc.max_send_message_length", -1)]
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address, options=options) as channel,
    ):
        yield channel


@pytest.fixture(autouse=True)
def _nothing_happens(
    channel: grpc.Channel,  # noqa: ARG001 - for the server behind it
    data_dir: pathlib.Path,
) -> Iterator[None]:
    before = hostile_state.stored(data_dir)
    yield
    assert hostile_state.stored(data_dir) == before
    assert not (data_dir.parent / "tally").exists()


def parameters(value: struct_pb2.Value) -> types_pb2.JobConfig:
    made = calls.config("tally", parameters={})
    made.parameters.fields["p"].CopyFrom(value)
    return made


def number(value: float) -> struct_pb2.Value:
    return struct_pb2.Value(number_value=value)


def nested(levels: int) -> struct_pb2.Value:
    """Lists in lists, as far as a message may go."""
    outermost = innermost = struct_pb2.Value()
    for _ in range(levels):
        innermost = innermost.list_value.values.add()
    innermost.bool_value = True
    return outermost


REFUSED: dict[str, tuple[Callable[[], types_pb2.JobConfig], str]] = {
    "nan": (lambda: parameters(number(math.nan)), "INVALID_PARAMETERS"),
    "inf": (lambda: parameters(number(math.inf)), "INVALID_PARAMETERS"),
    "-inf": (lambda: parameters(number(-math.inf)), "INVALID_PARAMETERS"),
    "no kind": (lambda: parameters(struct_pb2.Value()), "INVALID_PARAMETERS"),
    "depth": (lambda: parameters(nested(40)), "INVALID_PARAMETERS"),
    "keys": (
        lambda: calls.config("tally", "", {f"k{n}": n for n in range(100_000)}),
        "INVALID_PARAMETERS",
    ),
    "bytes": (lambda: calls.config("tally", "", {"p": "x" * (1 << 20)}), "INVALID_PARAMETERS"),
    "cpus": (
        lambda: types_pb2.JobConfig(
            method_name="tally", resources=types_pb2.Resources(cpus=2**31 - 1)
        ),
        "RESOURCES_UNAVAILABLE",
    ),
    "negative memory": (
        lambda: types_pb2.JobConfig(
            method_name="tally", resources=types_pb2.Resources(memory_bytes=-(2**63))
        ),
        "INVALID_CONFIG",
    ),
    "timeout": (
        lambda: calls.config("tally", timeout="315576000000s"),
        "INVALID_CONFIG",
    ),
}
"""A config, and the reason of its rejection."""


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_value_rejects_its_row(
    channel: grpc.Channel, data_dir: pathlib.Path, what: str
) -> None:
    config, reason = REFUSED[what]
    asked = job_service_pb2.SimulateJobsRequest(
        jobs=[config()], options=types_pb2.BatchOptions(validate_only=True)
    )
    ended = ask(channel, "SimulateJobs", asked)
    hostile_state.assert_nothing_from_inside(ended.told, data_dir)
    (row,) = job_service_pb2.SimulateJobsResponse.FromString(ended.answers[0]).results
    assert row.outcome == types_pb2.OUTCOME_REJECTED
    assert reason in str(row.error.details[0].value)
    assert len(row.error.SerializeToString()) < 4096


def ask(channel: grpc.Channel, rpc: str, *sent: message.Message | bytes) -> hostile_rpcs.Ended:
    encoded = [each if isinstance(each, bytes) else each.SerializeToString() for each in sent]
    return hostile_rpcs.ask(channel, hostile_rpcs.BY_NAME[rpc], *encoded, timeout=60)


def header(**fields: int | str) -> bytes:
    made = file_service_pb2.UploadHeader(**{"file_hash": HASH, **fields})  # type: ignore[arg-type]  # by name
    return file_service_pb2.UploadFileRequest(header=made).SerializeToString()


def chunk(data: bytes) -> bytes:
    return file_service_pb2.UploadFileRequest(chunk=data).SerializeToString()


def deep_parameters() -> bytes:
    """Parameters nested 10,000 times, which no library would write."""
    value = b""
    for _ in range(10_000):
        value = wire.field(6, wire.field(1, value))  # Value.list_value, ListValue.values
    struct = wire.field(1, wire.field(1, b"p") + wire.field(2, value))
    return wire.field(1, wire.field(3, struct) + wire.field(2, b"tally"))


ONE = types_pb2.JobConfig(method_name="tally")
Simulate = job_service_pb2.SimulateJobsRequest
Stream = job_service_pb2.StreamSimulateJobsRequest
CALLS: dict[str, tuple[str, Callable[[], list[message.Message | bytes]], grpc.StatusCode, str]] = {
    "no jobs": ("SimulateJobs", lambda: [Simulate()], CODE.INVALID_ARGUMENT, "jobs"),
    "100,001 jobs": (
        "SimulateJobs",
        lambda: [Simulate(jobs=itertools.repeat(types_pb2.JobConfig(), 100_001))],
        CODE.RESOURCE_EXHAUSTED,
        "max_jobs_per_request",
    ),
    "100,001 jobs streamed": (
        "StreamSimulateJobs",
        lambda: [Stream(jobs=itertools.repeat(types_pb2.JobConfig(), 100_001))],
        CODE.RESOURCE_EXHAUSTED,
        "max_jobs_per_request",
    ),
    "33 MiB": (
        "SimulateJobs",
        lambda: [Simulate(jobs=[types_pb2.JobConfig(config_id="x" * (33 << 20))])],
        CODE.RESOURCE_EXHAUSTED,
        "larger than max",
    ),
    "depth 10,000": (
        "SimulateJobs",
        lambda: [deep_parameters()],
        CODE.INVALID_ARGUMENT,
        "SimulateJobsRequest",
    ),
    "negative wait": (
        "SimulateJobs",
        lambda: [Simulate(jobs=[ONE], wait=calls.until_finished(-1))],
        CODE.INVALID_ARGUMENT,
        "wait.timeout",
    ),
    "unknown wait": (
        "SimulateJobs",
        lambda: [Simulate.FromString(wire.field(1, b"\x12\x01a") + wire.field(3, b"\x08\x63"))],
        CODE.INVALID_ARGUMENT,
        "wait.until",
    ),
    "answers of 2 GiB": (
        "SimulateJobs",
        lambda: [
            Simulate(jobs=[ONE], options=types_pb2.BatchOptions(max_response_bytes=2**31 - 1))
        ],
        CODE.INVALID_ARGUMENT,
        "max_response_bytes",
    ),
    "the same config_id": (
        "SimulateJobs",
        lambda: [
            Simulate(jobs=[types_pb2.JobConfig(method_name="tally", config_id="a")] * 2),
        ],
        CODE.INVALID_ARGUMENT,
        "jobs[1].config_id",
    ),
    "a negative size": (
        "UploadFile",
        lambda: [header(size_bytes=-1)],
        CODE.INVALID_ARGUMENT,
        "size_bytes",
    ),
    "a size of 2^63-1": (
        "UploadFile",
        lambda: [header(size_bytes=2**63 - 1)],
        CODE.RESOURCE_EXHAUSTED,
        "max_file_bytes",
    ),
    "a negative write_offset": (
        "UploadFile",
        lambda: [header(size_bytes=1, write_offset=-1), chunk(b"x")],
        CODE.INVALID_ARGUMENT,
        "write_offset",
    ),
    "a write_offset beyond what came": (
        "UploadFile",
        lambda: [header(size_bytes=9, write_offset=8), chunk(b"x")],
        CODE.INVALID_ARGUMENT,
        "write_offset",
    ),
    "a wrong hash": (
        "UploadFile",
        lambda: [header(size_bytes=1), chunk(b"x")],
        CODE.INVALID_ARGUMENT,
        "file_hash",
    ),
    "more than announced": (
        "UploadFile",
        lambda: [header(size_bytes=1), chunk(b"xx")],
        CODE.INVALID_ARGUMENT,
        "size_bytes",
    ),
    "a chunk first": ("UploadFile", lambda: [chunk(b"x")], CODE.INVALID_ARGUMENT, "header"),
    "an empty upload": ("UploadFile", list, CODE.INVALID_ARGUMENT, "header"),
    "two headers": (
        "UploadFile",
        lambda: [header(size_bytes=1), header(size_bytes=1)],
        CODE.INVALID_ARGUMENT,
        "chunk",
    ),
    "a negative offset": (
        "DownloadFile",
        lambda: [file_service_pb2.DownloadFileRequest(file_hash=HASH, offset=-1)],
        CODE.INVALID_ARGUMENT,
        "offset",
    ),
    "a negative limit": (
        "DownloadFile",
        lambda: [file_service_pb2.DownloadFileRequest(file_hash=HASH, limit=-(2**63))],
        CODE.INVALID_ARGUMENT,
        "limit",
    ),
    "100,001 hashes": (
        "FindMissingFiles",
        lambda: [
            file_service_pb2.FindMissingFilesRequest(file_hashes=itertools.repeat("", 100_001))
        ],
        CODE.RESOURCE_EXHAUSTED,
        "file_hashes",
    ),
    "a negative page of rows": (
        "ListBatchResults",
        lambda: [batch_service_pb2.ListBatchResultsRequest(batch_id="b", page_size=-1)],
        CODE.INVALID_ARGUMENT,
        "page_size",
    ),
    "a negative page of methods": (
        "ListMethods",
        lambda: [method_service_pb2.ListMethodsRequest(page_size=-(2**31))],
        CODE.INVALID_ARGUMENT,
        "page_size",
    ),
    "a negative page of jobs": (
        "ListJobs",
        lambda: [job_service_pb2.ListJobsRequest(page_size=-1)],
        CODE.INVALID_ARGUMENT,
        "page_size",
    ),
    "a negative page of files": (
        "ListFiles",
        lambda: [file_service_pb2.ListFilesRequest(page_size=-1)],
        CODE.INVALID_ARGUMENT,
        "page_size",
    ),
    "a log from before its beginning": (
        "ReadJobLog",
        lambda: [job_service_pb2.ReadJobLogRequest(job_id=HASH, offset=-1)],
        CODE.INVALID_ARGUMENT,
        "offset",
    ),
    "a status that is none": (
        "ListBatchResults",
        lambda: [batch_service_pb2.ListBatchResultsRequest(batch_id="b", statuses=[99])],  # type: ignore[list-item]  # on purpose
        CODE.INVALID_ARGUMENT,
        "statuses[0]",
    ),
}
"""An RPC, what is sent, the code, and what the message names."""


@pytest.mark.parametrize("what", CALLS)
def test_a_hostile_request_is_refused_with_what_is_wrong_named(
    channel: grpc.Channel, data_dir: pathlib.Path, what: str
) -> None:
    rpc, sent, code, named = CALLS[what]
    ended = ask(channel, rpc, *sent())
    assert ended.code is code, ended.text
    assert named in ended.text
    hostile_state.assert_nothing_from_inside(ended.told, data_dir)


RAW = {
    "an open varint": b"\xff",
    "an endless varint": b"\x08" + b"\xff" * 11,
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "field zero": b"\x02\x00",
    "a group": b"\x0b\x0c",
    "an open group": b"\x0b" * 200,
    "a wrong wire type": b"\x0f\x00",
}
UNKNOWN = {"a group", "field zero"}
"""What can be taken for fields that nobody knows."""


@pytest.mark.parametrize("rpc", hostile_rpcs.RPCS, ids=lambda rpc: str(rpc.name))
def test_bytes_that_are_no_message_end_every_call_clearly(
    channel: grpc.Channel, data_dir: pathlib.Path, rpc: hostile_rpcs.Rpc
) -> None:
    for what, sent in RAW.items():
        ended = hostile_rpcs.ask(channel, rpc, sent, timeout=20, most_answers=1)
        expected = {CODE.INVALID_ARGUMENT}
        if what in UNKNOWN and not rpc.path.startswith("/dshpc."):
            expected |= {CODE.OK, CODE.NOT_FOUND}  # health and reflection pass it over
        assert ended.code in expected, f"{what}: {ended.code} {ended.text}"
        hostile_state.assert_nothing_from_inside(ended.told, data_dir)


def test_of_a_key_that_is_sent_twice_the_last_counts(channel: grpc.Channel) -> None:
    def entry(value: float) -> bytes:
        return wire.field(1, wire.field(1, b"p") + wire.field(2, number(value).SerializeToString()))

    twice = wire.field(2, b"no_input") + wire.field(3, entry(1) + entry(2))
    validate = wire.field(2, types_pb2.BatchOptions(validate_only=True).SerializeToString())
    once = calls.config("no_input", parameters={"p": 2}).SerializeToString()
    ended = ask(channel, "SimulateJobs", wire.field(1, twice) + wire.field(1, once) + validate)
    assert ended.code is CODE.OK, ended.text
    first, second = job_service_pb2.SimulateJobsResponse.FromString(ended.answers[0]).results
    assert first.job_id == second.job_id
