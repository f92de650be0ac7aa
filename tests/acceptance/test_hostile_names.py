"""Hostile names and hashes in every field that takes one: refused clearly, or a mere label.

Nothing is stored, nothing is run, nothing from inside is told.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import grpc
import pytest
from google.protobuf import message

from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    types_pb2,
)
from support import calls, hostile_messages, hostile_rpcs, hostile_state, live_server, site

CODE = grpc.StatusCode
HASH = "a" * 64
NAMES = hostile_messages.NAMES
INVALID = {CODE.INVALID_ARGUMENT}
EITHER = INVALID | {CODE.NOT_FOUND}
Named: TypeAlias = dict[str, tuple[set[grpc.StatusCode], Callable[[str], message.Message]]]
Rows: TypeAlias = dict[str, tuple[str, Callable[[str], dict[str, object]]]]


class Hostile:
    """A server, what it holds, and how often its method ran."""

    def __init__(self, address: str, channel: grpc.Channel, data_dir: pathlib.Path) -> None:
        self.address = address
        self.channel = channel
        self.service = calls.Service(channel)
        self.data_dir = data_dir
        self.tally = data_dir.parent / "tally"

    def ask(self, rpc: str, *sent: message.Message | bytes) -> hostile_rpcs.Ended:
        """Make a call; what it tells holds nothing from inside."""
        encoded = [each if isinstance(each, bytes) else each.SerializeToString() for each in sent]
        ended = hostile_rpcs.ask(self.channel, hostile_rpcs.BY_NAME[rpc], *encoded)
        hostile_state.assert_nothing_from_inside(ended.told, self.data_dir)
        return ended


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    folder = tmp_path_factory.mktemp("hostile")
    methods_dir = site.write(folder)
    tally = folder / "tally"
    site.install(methods_dir, "tally", f'echo run >> "{tally}"', inputs=[])
    settings = live_server.settings(folder, methods_dir)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        yield Hostile(address, channel, settings.data_dir)


@pytest.fixture(autouse=True)
def _nothing_happens(hostile: Hostile) -> Iterator[None]:
    """Whatever a test here sends, nothing is stored and nothing is run."""
    before = hostile_state.stored(hostile.data_dir)
    yield
    assert hostile_state.stored(hostile.data_dir) == before
    assert not hostile.tally.exists()
    strays = {path.name for path in hostile.data_dir.parent.iterdir()}
    assert strays <= {"data", "methods"}


NAMED: Named = {
    "GetJob.job_id": (INVALID, lambda name: job_service_pb2.GetJobRequest(job_id=name)),
    "CancelJob.job_id": (INVALID, lambda name: job_service_pb2.CancelJobRequest(job_id=name)),
    "CancelJob.reason": (
        EITHER,
        lambda name: job_service_pb2.CancelJobRequest(job_id=HASH, reason=name),
    ),
    "ReadJobLog.job_id": (INVALID, lambda name: job_service_pb2.ReadJobLogRequest(job_id=name)),
    "ListJobs.page_token": (INVALID, lambda name: job_service_pb2.ListJobsRequest(page_token=name)),
    "ListBatchResults.batch_id": (
        EITHER,
        lambda name: batch_service_pb2.ListBatchResultsRequest(batch_id=name),
    ),
    "ListBatchResults.page_token": (
        INVALID,
        lambda name: batch_service_pb2.ListBatchResultsRequest(batch_id="b", page_token=name),
    ),
    "GetUpload.file_hash": (
        INVALID,
        lambda name: file_service_pb2.GetUploadRequest(file_hash=name),
    ),
    "DownloadFile.file_hash": (
        INVALID,
        lambda name: file_service_pb2.DownloadFileRequest(file_hash=name),
    ),
    "FindMissingFiles.file_hashes": (
        INVALID,
        lambda name: file_service_pb2.FindMissingFilesRequest(file_hashes=[HASH, name]),
    ),
    "GetFile.file_hash": (INVALID, lambda name: file_service_pb2.GetFileRequest(file_hash=name)),
    "DeleteFile.file_hash": (
        INVALID,
        lambda name: file_service_pb2.DeleteFileRequest(file_hash=name),
    ),
    "ListFiles.page_token": (
        INVALID,
        lambda name: file_service_pb2.ListFilesRequest(page_token=name),
    ),
    "UploadFile.file_hash": (
        INVALID,
        lambda name: file_service_pb2.UploadFileRequest(
            header=file_service_pb2.UploadHeader(file_hash=name, size_bytes=1)
        ),
    ),
    "ListMethods.page_token": (
        INVALID,
        lambda name: method_service_pb2.ListMethodsRequest(page_token=name),
    ),
    "GetMethod.method_name": (
        EITHER,
        lambda name: method_service_pb2.GetMethodRequest(method_name=name),
    ),
    "GetMethod.function_hash": (
        EITHER,
        lambda name: method_service_pb2.GetMethodRequest(method_name="tally", function_hash=name),
    ),
}
"""By RPC and field: the codes that are right, and the request."""


@pytest.mark.parametrize("field", NAMED)
def test_a_hostile_name_of_one_thing_is_refused(hostile: Hostile, field: str) -> None:
    expected, request = NAMED[field]
    rpc = field.partition(".")[0]
    bad = NAMES if not field.endswith(("hash", "hashes")) else NAMES | hostile_messages.BAD_HASHES
    for what, name in bad.items():
        ended = hostile.ask(rpc, request(name))
        assert ended.code in expected, f"{what}: {ended.code} {ended.text}"
        assert ended.text.isprintable(), what
        assert len(ended.text.encode()) <= 1024
        assert ended.status.code == ended.code.value[0]


REFUSED_ROWS: Rows = {
    "method_name": ("", lambda name: {"method_name": name}),
    "function_hash": ("", lambda name: {"method_name": "tally", "function_hash": name}),
    "file_hash": ("INVALID_CONFIG", lambda name: {"method_name": "echo", "file_hash": name}),
    "an input's name": (
        "INVALID_INPUTS",
        lambda name: {"method_name": "echo", "inputs": {name: {"file_hash": HASH}}},
    ),
    "an input's hash": (
        "INVALID_CONFIG",
        lambda name: {"method_name": "echo", "inputs": {"input": {"file_hash": name}}},
    ),
    "a parameter's name": (
        "INVALID_PARAMETERS",
        lambda name: {"method_name": "declared", "file_hash": HASH, "parameters": {name: 1}},
    ),
}
"""By field: the reason of the rejection (empty: any), and the config."""


@pytest.mark.parametrize("field", REFUSED_ROWS)
def test_a_hostile_name_in_a_config_rejects_its_row(hostile: Hostile, field: str) -> None:
    reason, fields = REFUSED_ROWS[field]
    bad = NAMES if "hash" not in field else NAMES | hostile_messages.BAD_HASHES
    request = job_service_pb2.SimulateJobsRequest(
        jobs=[_config(fields(name)) for name in bad.values()],
        options=types_pb2.BatchOptions(validate_only=True),
    )
    ended = hostile.ask("SimulateJobs", request)
    assert ended.code is CODE.OK, ended.text
    answer = job_service_pb2.SimulateJobsResponse.FromString(ended.answers[0])
    for what, row in zip(bad, answer.results, strict=True):
        assert row.outcome == types_pb2.OUTCOME_REJECTED, f"{what}: {row}"
        assert not row.job_id
        assert reason in str(row.error.details[0].value), what
        assert len(row.error.SerializeToString()) < 4096, what


def _config(fields: dict[str, object]) -> types_pb2.JobConfig:
    fields = dict(fields)
    parameters = fields.pop("parameters", None)
    name = str(fields.pop("method_name"))
    return calls.config(name, parameters=parameters, **fields)  # type: ignore[arg-type]  # by name


LONG: dict[str, message.Message] = {
    "config_id": job_service_pb2.SimulateJobsRequest(
        jobs=[types_pb2.JobConfig(method_name="tally", config_id=NAMES["long"])]
    ),
    "display_name": job_service_pb2.SimulateJobsRequest(
        jobs=[types_pb2.JobConfig(method_name="tally")],
        options=types_pb2.BatchOptions(display_name=NAMES["long"]),
    ),
    "filename": file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(file_hash=HASH, filename=NAMES["long"])
    ),
    "media_type": file_service_pb2.UploadFileRequest(
        header=file_service_pb2.UploadHeader(file_hash=HASH, media_type=NAMES["long"])
    ),
}


@pytest.mark.parametrize("field", LONG)
def test_a_label_that_is_too_long_is_refused_with_its_field(hostile: Hostile, field: str) -> None:
    rpc = "UploadFile" if "UploadFile" in type(LONG[field]).__name__ else "SimulateJobs"
    ended = hostile.ask(rpc, LONG[field])
    assert ended.code is CODE.INVALID_ARGUMENT
    assert field in ended.text


@pytest.mark.parametrize("rpc", hostile_rpcs.RPCS, ids=lambda rpc: str(rpc.name))
@pytest.mark.parametrize("what", hostile_messages.NOT_UTF8)
def test_bytes_that_are_no_text_are_refused_in_every_text_field(
    hostile: Hostile, rpc: hostile_rpcs.Rpc, what: str
) -> None:
    bad = hostile_messages.NOT_UTF8[what]
    texts = [field for field in rpc.method.input_type.fields if field.type == field.TYPE_STRING]
    for field in texts:
        sent = bytes([field.number << 3 | 2, len(bad)]) + bad
        ended = hostile_rpcs.ask(hostile.channel, rpc, sent)
        assert ended.code is CODE.INVALID_ARGUMENT, field.name
        assert rpc.method.input_type.full_name in ended.text
        hostile_state.assert_nothing_from_inside(ended.told, hostile.data_dir)
