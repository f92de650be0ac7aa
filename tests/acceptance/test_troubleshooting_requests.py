"""docs/troubleshooting.md: files, limits, and what requests and grpcurl run into.

Every symptom is provoked, and what is seen then holds the words of the page.
"""

import errno
import functools
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import cast

import grpc
import pytest
import sqlalchemy

from dshpc.v1 import (
    file_service_pb2,
    job_service_pb2,
    server_service_pb2,
    types_pb2,
)
from dshpc_server import errors
from dshpc_server.files import room
from dshpc_server.store.sql import database
from dshpc_server.transport import limits
from support import calls, component, documents_symptoms, live_server, site

SYMPTOMS = documents_symptoms.Symptoms(
    "Files", "A call is refused for a limit", "Requests, and grpcurl"
)
UNTESTED = {
    "The disk is full": "a full disk is nothing to make here; the sentences are those of the "
    "errors, which test_the_sentences_about_a_full_disk compares",
}
LIMITS: dict[str, float] = {
    "max_jobs_per_request": 3,
    "max_request_bytes": 8_000_000,
    "max_file_bytes": 1000,
    "upload_stall_seconds": 0.2,
}
UNKNOWN_FIELD = b"\xa8\x06\x01"
"""Field 101, a 1."""


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path) -> Iterator[str]:
    """A server with low limits."""
    folder = tmp_path_factory.mktemp("server")
    with live_server.in_thread(live_server.settings(folder, methods_dir, **LIMITS)) as address:
        yield address


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    """A connection to it."""
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(scope="module")
def service(channel: grpc.Channel) -> calls.Service:
    """Everything that it offers."""
    return calls.Service(channel)


def refused(code: grpc.StatusCode, *makes: Callable[[], object]) -> str:
    """What calls say that are refused with this status."""
    refusals = [calls.refusal(make) for make in makes]
    assert {refusal.code for refusal in refusals} == {code}
    return "\n".join(refusal.text for refusal in refusals)


def upload(service: calls.Service, content: bytes, **header: object) -> Callable[[], object]:
    """An upload whose header says something else than the content."""
    fields = {"file_hash": site.hash_of(content), "size_bytes": len(content)} | header
    parts = [
        file_service_pb2.UploadFileRequest(
            header=file_service_pb2.UploadHeader(**fields)  # type: ignore[arg-type] # by name
        ),
        file_service_pb2.UploadFileRequest(chunk=content),
    ]
    return lambda: service.files.UploadFile(iter(parts), timeout=60)


@SYMPTOMS.about("The hash is wrong")
def test_an_upload_with_a_wrong_hash(service: calls.Service) -> str:
    return refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        upload(service, b"abc", file_hash="0" * 64),
        upload(service, b"abc", file_hash="xyz"),
    )


@SYMPTOMS.about("The size is wrong")
def test_an_upload_with_a_wrong_size(service: calls.Service) -> str:
    return refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        upload(service, b"abcd", size_bytes=5),
        upload(service, b"abcd", size_bytes=3),
    )


@SYMPTOMS.about("The upload cannot go on from there")
def test_an_upload_that_goes_on_with_nothing(service: calls.Service) -> str:
    return refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        upload(service, b"never begun", write_offset=3),
    )


@SYMPTOMS.about("The upload stalled")
def test_an_upload_that_stalls(service: calls.Service) -> str:
    over = threading.Event()

    def parts(sent: bytes) -> Iterator[file_service_pb2.UploadFileRequest]:
        yield from calls.upload_parts(site.hash_of(b"stalls"), sent, size_bytes=6)
        over.wait(documents_symptoms.SECONDS)

    told = [
        refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            functools.partial(service.files.UploadFile, parts(sent), timeout=60),
        )
        for sent in (b"", b"stal")
    ]
    over.set()
    return "\n".join(told)


@SYMPTOMS.about("A file cannot be deleted")
def test_a_file_that_is_needed(service: calls.Service, tmp_path: pathlib.Path) -> str:
    with documents_symptoms.held(service, tmp_path) as config:
        asked = file_service_pb2.DeleteFileRequest(file_hash=config.file_hash)
        return refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: service.files.DeleteFile(asked))


def test_the_sentences_about_a_full_disk(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.UnavailableError) as of_files, room.needed():
        raise OSError(errno.ENOSPC, "No space left on device")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/full.sqlite")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE a (b)")
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        with pytest.raises(errors.UnavailableError) as of_store, database.operating():
            connection.exec_driver_sql("INSERT INTO a VALUES (randomblob(100000))")
    engine.dispose()
    said = [str(caught.value) for caught in (of_files, of_store)]
    assert documents_symptoms.shown("The disk is full") == said


@SYMPTOMS.about("Too much in one request")
def test_too_much_in_one_request(service: calls.Service) -> str:
    hashes = ["0" * 64] * (limits.MAX_HASHES_PER_REQUEST + 1)
    asked = file_service_pb2.FindMissingFilesRequest(file_hashes=hashes)
    return refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        lambda: service.simulate(*[calls.config("no_input")] * 4),
        lambda: service.files.FindMissingFiles(asked),
        lambda: service.upload(bytes(1001)),
    )


@SYMPTOMS.about("A message is too large")
def test_a_message_that_is_too_large(service: calls.Service) -> str:
    config = calls.config("no_input", parameters={"long": "x" * 8_000_000})
    return refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: service.simulate(config))


@SYMPTOMS.about("Too many calls at one time")
def test_too_many_calls_at_one_time(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> str:
    few = {"max_calls": 1, "max_streams": 1, "max_uploads": 1}
    (tmp_path / "other").mkdir()
    with (
        live_server.in_thread(live_server.settings(tmp_path, methods_dir, **few)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        service = calls.Service(channel)
        over = threading.Event()
        with documents_symptoms.held(service, tmp_path) as config:
            stream = service.stream(config)
            assert next(stream).HasField("accepted")
            waiting = service.jobs.SimulateJobs.future(
                job_service_pb2.SimulateJobsRequest(jobs=[config], wait=calls.until_finished())
            )

            def parts() -> Iterator[file_service_pb2.UploadFileRequest]:
                yield from calls.upload_parts(site.hash_of(b"slow"), b"s", size_bytes=4)
                over.wait(documents_symptoms.SECONDS)

            uploading = service.files.UploadFile.future(parts())
            told = "\n".join(
                live_server.wait_for(lambda make=make: _refused_at_last(make), "a refusal")
                for make in (
                    lambda: service.server.GetServerInfo(server_service_pb2.GetServerInfoRequest()),
                    lambda: next(service.stream(config)),
                    lambda: service.upload(b"another\n"),
                )
            )
            stream.cancel()  # type: ignore[attr-defined] # a call is an iterator, and more
            waiting.cancel()
            over.set()
            uploading.cancel()
        return told


def _refused_at_last(make: Callable[[], object]) -> str:
    """What a call says that is over a limit; nothing while it is not."""
    try:
        make()
    except grpc.RpcError as error:
        return str(cast("grpc.Call", error).details())
    return ""


@SYMPTOMS.about("A field is not known")
def test_fields_that_are_not_known(
    channel: grpc.Channel, address: str, service: calls.Service
) -> str:
    send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/dshpc.v1.JobService/SimulateJobs"
    )
    whole = job_service_pb2.SimulateJobsRequest(jobs=[calls.config("no_input")])
    of_request = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: send(whole.SerializeToString() + UNKNOWN_FIELD),
    )
    newer = types_pb2.JobConfig.FromString(
        calls.config("no_input").SerializeToString() + UNKNOWN_FIELD
    )
    of_row = service.ask(newer).message
    batch = "jobs: [{method: no_input, nice: 3}]"
    of_file = documents_symptoms.said(documents_symptoms.dshpc(address, "run", "-"), sent=batch)
    of_grpcurl = grpcurl(address, '{"jobs": [{"method_name": "no_input", "nice": 3}]}')
    return "\n".join((of_request, of_row, of_file, of_grpcurl))


def grpcurl(address: str, sent: str, *words: str, call: str = "JobService/SimulateJobs") -> str:
    """Send a message with grpcurl; what it prints."""
    command = [component.path("grpcurl"), "-plaintext", *words, "-d", "@"]
    return documents_symptoms.said([*command, address, f"dshpc.v1.{call}"], sent=sent)


@SYMPTOMS.about("grpcurl speaks TLS")
def test_grpcurl_without_plaintext(address: str) -> str:
    return documents_symptoms.said([component.path("grpcurl"), address, "list"])


@SYMPTOMS.about("grpcurl does not take the chunk")
def test_a_chunk_that_is_not_base64(address: str) -> str:
    header = f'{{"header": {{"file_hash": "{site.hash_of(b"a,b")}", "size_bytes": 3}}}}'
    return grpcurl(address, header + '{"chunk": "a,b"}', call="FileService/UploadFile")


@SYMPTOMS.about("grpcurl stops before the end")
def test_grpcurl_with_a_deadline(
    address: str, service: calls.Service, tmp_path: pathlib.Path
) -> str:
    with documents_symptoms.held(service, tmp_path) as config:
        sent = f'{{"jobs": [{{"method_name": "hold", "file_hash": "{config.file_hash}"}}]}}'
        call = "JobService/StreamSimulateJobs"
        return grpcurl(address, sent, "-max-time", "1", call=call)


@SYMPTOMS.about("The names of fields differ")
def test_the_names_that_this_grpcurl_prints(address: str) -> str:
    printed = grpcurl(address, '{"jobs": [{"method_name": "no_input"}]}')
    # Which of the two it is depends on its version.
    return printed.replace('"newStatus"', '"new_status"')


@SYMPTOMS.about("A hash is only a part")
def test_a_part_of_a_hash(address: str) -> str:
    return documents_symptoms.said(documents_symptoms.dshpc(address, "job", "show", "abc"))


def test_every_symptom_of_these_chapters_is_provoked() -> None:
    SYMPTOMS.check_complete(UNTESTED)
