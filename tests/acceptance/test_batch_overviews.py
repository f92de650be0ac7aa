"""GetBatch and ListBatches: how batches stand, at once or when that has changed."""

import concurrent.futures
import pathlib
import threading

import grpc
import pytest

from dshpc.v1 import batch_service_pb2, types_pb2
from support import calls, resuming, site

RUNNING = batch_service_pb2.BATCH_STATE_RUNNING
FINISHED = batch_service_pb2.BATCH_STATE_FINISHED
LONG_SECONDS = 40


def get(
    service: calls.Service, batch_id: str, *, wait: int = 0, known: str = ""
) -> batch_service_pb2.Batch:
    asked = batch_service_pb2.GetBatchRequest(batch_id=batch_id, if_changed_since=known)
    if wait:
        asked.wait.FromSeconds(wait)
    return service.batches.GetBatch(asked, timeout=60).batch


def test_a_batch_tells_how_it_stands(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content))
    answer = service.simulate(held, calls.config("absent"), display_name="overviews")
    batch = get(service, answer.batch_id)
    assert (batch.batch_id, batch.display_name) == (answer.batch_id, "overviews")
    assert (batch.state, batch.priority, batch.reason) == (RUNNING, 0, "")
    assert batch.statistics.in_progress_jobs == batch.statistics.failed_submissions == 1
    assert not batch.statistics.final
    assert batch.HasField("create_time")
    assert not batch.HasField("end_time")
    gate.open()
    ended = get(service, answer.batch_id, wait=LONG_SECONDS)
    assert ended.state == FINISHED
    assert (ended.statistics.completed_jobs, ended.statistics.final) == (1, True)
    assert ended.end_time.ToDatetime() >= ended.create_time.ToDatetime()
    again = get(service, answer.batch_id, wait=LONG_SECONDS)
    ended.statistics.ClearField("as_of")
    again.statistics.ClearField("as_of")
    assert again == ended


def test_a_wait_is_over_when_the_batch_has_changed(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gates = [site.Gate(tmp_path / name) for name in ("first", "second")]
    held = [calls.config("hold", service.upload(gate.content)) for gate in gates]
    answer = service.simulate(*held)
    for row in answer.results:
        service.wait_for_status(row.job_id, types_pb2.JOB_STATUS_RUNNING)
    known = get(service, answer.batch_id)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            get, service, answer.batch_id, wait=LONG_SECONDS, known=known.resume_token
        )
        until_finished = threads.submit(get, service, answer.batch_id, wait=LONG_SECONDS)
        gates[0].open()
        changed = waiting.result(LONG_SECONDS)
        assert changed.resume_token != known.resume_token
        while changed.statistics.completed_jobs == 0:  # its process ends before it is COMPLETED
            changed = get(service, answer.batch_id, wait=LONG_SECONDS, known=changed.resume_token)
        assert changed.state == RUNNING
        assert not until_finished.done()
        gates[1].open()
        assert until_finished.result(LONG_SECONDS).state == FINISHED
    last = get(service, answer.batch_id, wait=LONG_SECONDS, known=changed.resume_token)
    assert last.statistics.completed_jobs >= 1


def test_a_wait_without_a_change_ends_with_the_batch_as_it_is(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    answer = service.simulate(calls.config("hold", service.upload(gate.content)))
    service.wait_for_status(answer.results[0].job_id, types_pb2.JOB_STATUS_RUNNING)
    known = get(service, answer.batch_id)
    same = get(service, answer.batch_id, wait=1, known=known.resume_token)
    assert (same.state, same.resume_token) == (RUNNING, known.resume_token)
    asked = batch_service_pb2.GetBatchRequest(batch_id=answer.batch_id)
    asked.wait.FromSeconds(LONG_SECONDS)
    before_the_deadline = service.batches.GetBatch(asked, timeout=2)
    assert before_the_deadline.batch.state == RUNNING
    gate.open()
    assert get(service, answer.batch_id, wait=LONG_SECONDS).state == FINISHED


def test_a_stream_goes_on_from_where_the_batch_was_read(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    data = service.upload(b"read before\n")
    service.run(calls.config("echo", data))
    held = calls.config("hold", service.upload(gate.content))
    batch_id = service.simulate(held, calls.config("echo", data)).batch_id
    known = get(service, batch_id)
    assert known.statistics.completed_jobs == 1
    gate.open(b"later\n")
    client = resuming.Client()
    client.take_all(resuming.watch(service, batch_id, known.resume_token))
    assert {row.output for row in client.ended.values()} == {"later\n"}
    assert client.statistics is not None
    assert client.statistics.completed_jobs == 2
    ended = get(service, batch_id, known=client.resume_token)
    assert ended.resume_token == client.resume_token


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"batch_id": "unknown"}, grpc.StatusCode.NOT_FOUND, "unknown"),
        ({"wait": {"seconds": -1}}, grpc.StatusCode.INVALID_ARGUMENT, "wait"),
    ],
)
def test_what_cannot_be_read_is_refused(
    service: calls.Service, fields: dict[str, object], code: grpc.StatusCode, field: str
) -> None:
    asked = batch_service_pb2.GetBatchRequest(**fields)  # type: ignore[arg-type]  # by name
    refused = calls.refusal(lambda: service.batches.GetBatch(asked))
    assert refused.code is code
    assert field in refused.text


def list_all(
    service: calls.Service, page_size: int, token: str = ""
) -> tuple[list[str], list[int]]:
    """The batches from here on, and how many each page had."""
    found, sizes = [], []
    while True:
        page = service.batches.ListBatches(
            batch_service_pb2.ListBatchesRequest(page_size=page_size, page_token=token)
        )
        assert all(not batch.resume_token for batch in page.batches)
        found += [batch.batch_id for batch in page.batches]
        sizes.append(len(page.batches))
        token = page.next_page_token
        if not token:
            return found, sizes


def test_batches_are_listed_the_newest_first_while_others_are_added(
    service: calls.Service,
) -> None:
    data = service.upload(b"listed\n")
    config = calls.config("echo", data)
    made = [service.simulate(config, finished=True).batch_id for _ in range(23)]
    first = service.batches.ListBatches(batch_service_pb2.ListBatchesRequest(page_size=5))
    over = threading.Event()

    def add() -> list[str]:
        added = []
        while not over.is_set():
            added.append(service.simulate(config).batch_id)
        return added

    with concurrent.futures.ThreadPoolExecutor() as threads:
        adding = threads.submit(add)
        rest, sizes = list_all(service, 5, first.next_page_token)
        over.set()
        added = adding.result()
    listed = [batch.batch_id for batch in first.batches] + rest
    assert listed[: len(made)] == made[::-1], "nothing is left out, nothing comes twice"
    assert not set(listed) & set(added)
    assert all(size == 5 for size in sizes[:-1])
    everything, _ = list_all(service, 1000)
    assert everything[: len(added)] == added[::-1]
    assert everything[len(added) :] == listed


def test_what_is_listed_is_what_is_read(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    service.simulate(calls.config("hold", service.upload(gate.content)), display_name="held")
    service.simulate(calls.config("absent"), display_name="refused")
    page = service.batches.ListBatches(batch_service_pb2.ListBatchesRequest(page_size=2))
    assert [batch.display_name for batch in page.batches] == ["refused", "held"]
    assert [batch.state for batch in page.batches] == [FINISHED, RUNNING]
    for batch in page.batches:
        read = get(service, batch.batch_id)
        assert read.resume_token
        for each in (read, batch):
            each.ClearField("resume_token")
            each.statistics.ClearField("as_of")
        assert read == batch
    gate.open()


@pytest.mark.parametrize("asked", [{"page_size": -1}, {"page_token": "x"}])
def test_a_page_that_there_cannot_be_is_refused(
    service: calls.Service, asked: dict[str, object]
) -> None:
    request = batch_service_pb2.ListBatchesRequest(**asked)  # type: ignore[arg-type]  # by name
    refused = calls.refusal(lambda: service.batches.ListBatches(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_token_of_jobs_is_none_of_batches(service: calls.Service) -> None:
    data = service.upload(b"two lists\n")
    service.simulate(*[calls.config("parameters", data, {"n": n}) for n in range(3)])
    for number in range(2):
        service.simulate(calls.config("parameters", data, {"n": number}))
    page = service.batches.ListBatches(batch_service_pb2.ListBatchesRequest(page_size=1))
    assert page.next_page_token
    request = batch_service_pb2.ListBatchResultsRequest(
        batch_id=page.batches[0].batch_id, page_token=page.next_page_token
    )
    refused = calls.refusal(lambda: service.batches.ListBatchResults(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
