"""Single jobs: read at once, waited for, and listed."""

import itertools
import pathlib

import grpc
import pytest
from google.protobuf import duration_pb2

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, job_calls, site


@pytest.fixture(scope="module")
def data(service: calls.Service) -> str:
    """Some input."""
    return service.upload(b"input\n")


def held(service: calls.Service, folder: pathlib.Path) -> tuple[site.Gate, str]:
    """A running job, and the gate that holds it."""
    gate = site.Gate(folder / "gate")
    job_id = service.ask(calls.config("hold", service.upload(gate.content))).job_id
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
    return gate, job_id


def test_a_wait_ends_with_the_job(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate, job_id = held(service, tmp_path)
    asked = job_service_pb2.GetJobRequest(job_id=job_id, wait=job_calls.duration(60))
    waiting = service.jobs.GetJob.future(asked, timeout=60)
    gate.open(b"let go\n")
    job = waiting.result().job
    assert (job.status, job.output) == (types_pb2.JOB_STATUS_COMPLETED, "let go\n")
    assert [each.attempt for each in job.attempts] == [1]


def test_a_wait_without_an_end_is_answered_with_the_job_as_it_is(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate, job_id = held(service, tmp_path)
    assert job_calls.get(service, job_id).status == types_pb2.JOB_STATUS_RUNNING
    assert job_calls.get(service, job_id, 0.2).status == types_pb2.JOB_STATUS_RUNNING
    # Not the whole wait: the caller's deadline comes first, and is kept.
    job = job_calls.get(service, job_id, 3600, timeout=1.5)
    assert job.status == types_pb2.JOB_STATUS_RUNNING
    gate.open()


def test_with_a_known_status_every_change_is_an_answer(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    job_id = service.ask(calls.config("hold", service.upload(gate.content))).job_id
    seen = [types_pb2.JOB_STATUS_PENDING]
    while seen[-1] != types_pb2.JOB_STATUS_COMPLETED:
        if seen[-1] == types_pb2.JOB_STATUS_RUNNING:
            gate.open()
        # Nothing but a change ends a wait of an hour: not the time, nor the end alone.
        job = job_calls.get(service, job_id, 3600, timeout=3600, known_status=seen[-1])
        seen.append(job.status)
    assert seen[-2:] == [types_pb2.JOB_STATUS_RUNNING, types_pb2.JOB_STATUS_COMPLETED]
    assert len(seen) == len(set(seen))


def test_every_attempt_is_told_the_oldest_first(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    marker = service.upload(str(tmp_path / "marker").encode())
    config = calls.config("fail_once", marker)
    assert service.run(config).new_status == types_pb2.JOB_STATUS_FAILED
    again = service.run(config)
    assert again.outcome == types_pb2.OUTCOME_RESUBMITTED
    job = job_calls.get(service, again.job_id)
    assert (job.status, job.attempt) == (types_pb2.JOB_STATUS_COMPLETED, 2)
    first, second = job.attempts
    assert (first.attempt, first.status) == (1, types_pb2.JOB_STATUS_FAILED)
    assert (first.exit_code, first.reason) == (1, "Exit code 1")
    assert first.node
    assert int(first.engine_job_id) != int(second.engine_job_id)
    assert (second.attempt, second.status) == (2, types_pb2.JOB_STATUS_COMPLETED)
    assert second.output_hash == job.output_hash == site.hash_of(b"")


def test_what_cannot_be_read_or_waited_for_is_refused(service: calls.Service, data: str) -> None:
    job_id = service.run(calls.config("echo", data)).job_id
    for asked, code, named in [
        ({"job_id": "a" * 64}, grpc.StatusCode.NOT_FOUND, "job"),
        ({"job_id": "nope"}, grpc.StatusCode.INVALID_ARGUMENT, "job_id"),
        ({"job_id": job_id, "known_status": 99}, grpc.StatusCode.INVALID_ARGUMENT, "known_status"),
        (
            {"job_id": job_id, "wait": duration_pb2.Duration(seconds=-1)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "wait",
        ),
    ]:
        request = job_service_pb2.GetJobRequest(**asked)  # type: ignore[arg-type]  # by name
        refused = job_calls.refused(service.jobs.GetJob, request)
        assert refused.code == code
        assert named in refused.text


@pytest.fixture(scope="module")
def many(service: calls.Service, data: str) -> list[str]:
    """Jobs of two methods and two ends; their names in the order of the listing."""
    first = [calls.config("exit", data, {"code": code, "row": code}) for code in (0, 1, 2)]
    # One batch each, so that all of them are of one moment: these go by their names.
    second = [calls.config("parameters", data, {"row": row}) for row in range(25)]
    names: list[str] = []
    for configs in (first, second):
        names += sorted(row.job_id for row in service.simulate(*configs, finished=True).results)
    return names[::-1]


@pytest.mark.parametrize("page_size", [1, 7, 0, 100_000])
def test_pages_hold_every_job_once_the_newest_first(
    service: calls.Service, many: list[str], page_size: int
) -> None:
    pages = list(job_calls.listed(service, page_size=page_size))
    told = [job.job_id for page in pages for job in page.jobs]
    assert len(told) == len(set(told))
    assert [name for name in told if name in many] == many
    assert told[: len(many)] == many
    if page_size in (1, 7):
        assert all(len(page.jobs) == page_size for page in pages[:-1])
    else:
        assert len(pages) == 1


def test_a_listed_job_is_the_job_without_output_and_attempts(
    service: calls.Service, many: list[str]
) -> None:
    page = next(job_calls.listed(service, page_size=100))
    by_name = {job.job_id: job for job in page.jobs}
    for name in many:
        whole = job_calls.get(service, name)
        whole.ClearField("output")
        whole.ClearField("attempts")
        assert by_name[name] == whole


def test_a_listing_is_filtered_by_status_and_method(
    service: calls.Service, many: list[str]
) -> None:
    def names(**asked: object) -> list[str]:
        pages = job_calls.listed(service, page_size=2, **asked)
        return [job.job_id for page in pages for job in page.jobs]

    assert names(method_name="parameters") == many[:25]
    exits = many[25:]
    (completed,) = names(method_name="exit", statuses=[types_pb2.JOB_STATUS_COMPLETED])
    failed = names(method_name="exit", statuses=[types_pb2.JOB_STATUS_FAILED])
    assert failed == [name for name in exits if name != completed]
    assert len(failed) == 2
    both = [types_pb2.JOB_STATUS_FAILED, types_pb2.JOB_STATUS_COMPLETED]
    assert names(method_name="exit", statuses=both) == exits
    assert names(method_name="nope") == []
    assert names(method_name="exit", statuses=[types_pb2.JOB_STATUS_TIMEOUT]) == []


def test_a_page_is_cut_before_it_is_too_large_for_a_client(
    service: calls.Service, data: str
) -> None:
    large = [calls.config("exit", data, {"code": 0, "n": n, "x": "x" * 900_000}) for n in range(6)]
    answers = [service.run(config) for config in large]
    pages = list(job_calls.listed(service))
    assert all(page.ByteSize() <= 3 * 1024 * 1024 for page in pages)
    told = [job.job_id for page in pages for job in page.jobs]
    assert told[:6] == [answer.job_id for answer in reversed(answers)]
    assert len(pages) >= 2


def test_what_cannot_be_listed_is_refused(service: calls.Service, many: list[str]) -> None:
    del many
    token = next(job_calls.listed(service, page_size=1)).next_page_token
    for asked, named in [
        ({"page_size": -1}, "page_size"),
        ({"statuses": [77]}, "statuses[0]"),
        ({"statuses": [0]}, "statuses[0]"),
        ({"page_token": "nope"}, "page_token"),
        ({"page_token": token, "method_name": "echo"}, "page_token"),
    ]:
        request = job_service_pb2.ListJobsRequest(**asked)  # type: ignore[arg-type]  # by name
        refused = job_calls.refused(service.jobs.ListJobs, request)
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
        assert named in refused.text


def test_many_who_wait_for_one_job_are_all_told(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate, job_id = held(service, tmp_path)
    asked = job_service_pb2.GetJobRequest(job_id=job_id, wait=job_calls.duration(60))
    waiting = [service.jobs.GetJob.future(asked, timeout=60) for _ in range(50)]
    gate.open(b"told\n")
    told = [each.result().job for each in waiting]
    assert {job.output for job in told} == {"told\n"}
    assert len(list(itertools.groupby(told))) == 1
