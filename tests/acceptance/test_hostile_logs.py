"""What clients write never comes into the log of a server that refuses it, at any level."""

import pathlib

import grpc
import pytest

from dshpc.v1 import file_service_pb2, job_service_pb2, types_pb2
from support import calls, hostile_messages, hostile_rpcs, live_server, site

CANARY = "canary-7f3a91"
HASH = "a" * 64


def _rows() -> list[bytes]:
    """Batches whose rows are refused one by one, each for a reason of its own."""
    configs = [
        types_pb2.JobConfig(method_name=CANARY, config_id=f"{CANARY} 1"),
        calls.config("echo", HASH, {CANARY: CANARY}, config_id=f"{CANARY} 2"),
        calls.config("declared", HASH, {CANARY: CANARY, "bins": CANARY}),
        calls.config("no_input", HASH, {"p": CANARY}),
        calls.config("echo", inputs={CANARY: {"file_hash": HASH}}),
        calls.config("echo", CANARY),
    ]
    batch = types_pb2.BatchOptions(display_name=CANARY)
    return [
        job_service_pb2.SimulateJobsRequest(jobs=configs, options=batch).SerializeToString(),
        job_service_pb2.SimulateJobsRequest(
            jobs=configs, options=types_pb2.BatchOptions(display_name=CANARY * 100)
        ).SerializeToString(),
    ]


def _uploads() -> list[list[bytes]]:
    """Uploads that are refused early, late, and in their middle."""
    labels = {"filename": CANARY, "media_type": CANARY}
    header = file_service_pb2.UploadHeader(file_hash=HASH, size_bytes=len(CANARY), **labels)  # type: ignore[arg-type]  # by name
    first = file_service_pb2.UploadFileRequest(header=header).SerializeToString()
    chunk = file_service_pb2.UploadFileRequest(chunk=CANARY.encode()).SerializeToString()
    return [[first, chunk], [first, chunk, chunk], [first, first], [chunk], [first, b"\xff"]]


@pytest.mark.parametrize("level", ["info", "debug"])
def test_nothing_that_a_refused_request_holds_is_logged(tmp_path: pathlib.Path, level: str) -> None:
    with live_server.as_process(tmp_path, site.write(tmp_path), log_level=level) as server:
        with grpc.insecure_channel(server.address) as channel:
            for rpc in hostile_rpcs.RPCS:
                wanted = rpc.method.input_type
                full = hostile_messages.filled(wanted, CANARY).SerializeToString()
                for sent in (full, full + b"\xff", CANARY.encode()):
                    hostile_rpcs.ask(channel, rpc, sent, timeout=20, most_answers=1)
            simulate, upload = (hostile_rpcs.BY_NAME[n] for n in ("SimulateJobs", "UploadFile"))
            for request in _rows():
                hostile_rpcs.ask(channel, simulate, request)
            for parts in _uploads():
                ended = hostile_rpcs.ask(channel, upload, *parts)
                assert ended.code is grpc.StatusCode.INVALID_ARGUMENT
        assert server.stop() == 0
        log = server.log.read_text(encoding="utf-8")
    assert '"event": "serving"' in log
    assert CANARY not in log
