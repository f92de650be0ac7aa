"""Limits are published as they are set, and every page is asked for in the same way."""

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

import grpc
import pytest
from google.protobuf import duration_pb2, message

from dshpc.v1 import (
    batch_service_pb2,
    file_service_pb2,
    job_service_pb2,
    method_service_pb2,
    server_service_pb2,
)
from support import calls, live_server, site

SET = {
    "max_jobs_per_request": 3,
    "max_request_bytes": 1_000_001,
    "max_parameters_bytes": 1002,
    "max_parameters_nodes": 103,
    "max_parameters_depth": 4,
    "inline_output_bytes": 1005,
    "max_file_bytes": 1_000_006,
    "memory_bytes": 1_000_000_007,
    "max_timeout_seconds": 1008,
    "max_wait_seconds": 1,
    "max_attempts": 2,
    "max_uploads": 11,
    "max_streams": 12,
    "max_calls": 13,
    "upload_expiry_seconds": 1014,
}
"""No two are equal, so that none can stand for another."""
FIXED = {
    "max_inline_output_bytes": 1 << 20,
    "max_page_size": 5000,
    "max_response_bytes": 32 << 20,
    "lowest_priority": -100,
    "highest_priority": 100,
}
Ask: TypeAlias = Callable[..., message.Message]


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path
) -> Iterator[calls.Service]:
    """A server with limits of its own."""
    settings = live_server.settings(tmp_path_factory.mktemp("small"), methods_dir, **SET)
    with (
        live_server.in_thread(settings) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield calls.Service(channel)


@pytest.fixture(scope="module")
def lists(small: calls.Service) -> dict[str, Ask]:
    """Every call that answers in pages, each with more than one page to answer."""
    data = small.upload(b"pages\n")
    small.upload(b"more pages\n")
    configs = [calls.config("parameters", data, {"row": row}) for row in range(2)]
    batch_id = small.simulate(*configs, finished=True).batch_id
    return {
        "ListJobs": lambda **page: small.jobs.ListJobs(job_service_pb2.ListJobsRequest(**page)),
        "ListFiles": lambda **page: small.files.ListFiles(
            file_service_pb2.ListFilesRequest(**page)
        ),
        "ListMethods": lambda **page: small.methods.ListMethods(
            method_service_pb2.ListMethodsRequest(**page)
        ),
        "ListBatchResults": lambda **page: small.batches.ListBatchResults(
            batch_service_pb2.ListBatchResultsRequest(batch_id=batch_id, **page)
        ),
    }


def next_page_token(ask: Ask) -> str:
    """The token of a first page of one."""
    token = getattr(ask(page_size=1), "next_page_token", "")
    assert isinstance(token, str)
    assert token
    return token


def test_the_limits_that_are_set_are_published_each_under_its_name(small: calls.Service) -> None:
    info = small.server.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    published = {field.name: value for field, value in info.limits.ListFields()}
    assert published == SET | FIXED


def test_too_many_rows_are_refused_with_the_limit_named_and_when_to_ask_again(
    small: calls.Service,
) -> None:
    refused = calls.refusal(lambda: small.simulate(*[calls.config("no_input")] * 4))
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_jobs_per_request" in refused.text
    assert [detail.TypeName() for detail in refused.status.details] == [
        "google.rpc.QuotaFailure",
        "google.rpc.RetryInfo",
    ]


@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ({"text": "x" * 1100}, "max_parameters_bytes"),
        ({"list": [1] * 110}, "max_parameters_nodes"),
        ({"a": {"b": {"c": {"d": {}}}}}, "max_parameters_depth"),
    ],
)
def test_parameters_over_a_limit_reject_the_row_with_the_limit_named(
    small: calls.Service, parameters: dict[str, object], limit: str
) -> None:
    result = small.ask(calls.config("no_input", parameters=parameters))
    assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert limit in result.message


def test_a_wait_ends_at_the_servers_limit_and_loses_nothing(
    small: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", small.upload(gate.content))
    # No deadline: only the server's limit ends these waits.
    batch = job_service_pb2.SimulateJobsRequest(jobs=[config], wait=calls.until_finished(86_400))
    answer = small.jobs.SimulateJobs(batch)
    assert not answer.statistics.final
    (row,) = answer.results
    day = duration_pb2.Duration(seconds=86_400)
    asked = job_service_pb2.GetJobRequest(job_id=row.job_id, wait=day)
    assert small.jobs.GetJob(asked).job.status not in calls.TERMINAL
    gate.open(b"in the end\n")
    small.wait_for_status(row.job_id, *calls.TERMINAL)
    assert small.run(config).output == "in the end\n"


NAMES = ("ListJobs", "ListFiles", "ListMethods", "ListBatchResults")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_size_is_coerced_when_large_and_refused_when_negative(
    lists: dict[str, Ask], name: str
) -> None:
    ask = lists[name]
    assert ask(page_size=2**31 - 1) == ask()
    refused = calls.refusal(lambda: ask(page_size=-1))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "page_size" in refused.text
    assert [detail.TypeName() for detail in refused.status.details] == ["google.rpc.BadRequest"]


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_another_listing_or_a_forged_one_is_refused(
    lists: dict[str, Ask], name: str
) -> None:
    own = next_page_token(lists[name])
    foreign = [next_page_token(lists[other]) for other in NAMES if other != name]
    middle = len(own) // 2
    changed = own[:middle] + ("A" if own[middle] != "A" else "B") + own[middle + 1 :]
    assert lists[name](page_token=own) != lists[name]()
    for token in (*foreign, changed, own[:-4], "nonsense", "é"):
        refused = calls.refusal(functools.partial(lists[name], page_token=token))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT, token
        assert "page_token" in refused.text
