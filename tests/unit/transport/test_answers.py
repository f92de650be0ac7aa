"""Joined responses are the messages one would build in the ordinary way, byte for byte."""

import dataclasses

import hypothesis
from hypothesis import strategies as st

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from dshpc_server.domain import statistics
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.transport import answers, moments
from support import store_values

results = st.builds(
    types_pb2.MultiJobResult,
    index=st.integers(0, 2**31 - 1),
    output=st.none() | st.text(max_size=300),
    message=st.text(max_size=20),
    exit_code=st.none() | st.integers(-(2**31), 2**31 - 1),
)
NOW = store_values.NOON


def encoded(rows: list[types_pb2.MultiJobResult]) -> list[bytes]:
    return [row.SerializeToString() for row in rows]


@hypothesis.given(st.lists(results, max_size=4))
def test_a_unary_answer_is_its_rows_and_what_closes_it(
    rows: list[types_pb2.MultiJobResult],
) -> None:
    closing = job_service_pb2.SimulateJobsResponse(batch_id="b", next_page_token="t")
    closing.statistics.total_jobs = 9
    joined = answers.simulate_jobs(encoded(rows), closing)
    built = job_service_pb2.SimulateJobsResponse(results=rows)
    built.MergeFrom(closing)
    assert joined == built.SerializeToString()


@hypothesis.given(st.lists(results, max_size=4))
def test_a_page_is_its_rows_and_a_token(rows: list[types_pb2.MultiJobResult]) -> None:
    closing = batch_service_pb2.ListBatchResultsResponse(next_page_token="t")
    joined = answers.list_batch_results(encoded(rows), closing)
    built = batch_service_pb2.ListBatchResultsResponse(results=rows, next_page_token="t")
    assert joined == built.SerializeToString()


@hypothesis.given(results)
def test_an_event_of_one_row_is_a_result(row: types_pb2.MultiJobResult) -> None:
    built = job_service_pb2.StreamSimulateJobsResponse(
        event_time=moments.timestamp(NOW), result=row
    )
    assert answers.result_event(encoded([row]), NOW) == built.SerializeToString()


@hypothesis.given(st.lists(results, min_size=2, max_size=4))
def test_an_event_of_more_rows_is_a_group(rows: list[types_pb2.MultiJobResult]) -> None:
    built = job_service_pb2.StreamSimulateJobsResponse(
        event_time=moments.timestamp(NOW), results=job_service_pb2.MultiJobResults(results=rows)
    )
    assert answers.result_event(encoded(rows), NOW) == built.SerializeToString()


def test_statistics_have_the_contracts_fields_under_the_same_names() -> None:
    counted = {field.name for field in dataclasses.fields(statistics.Statistics)}
    assert counted | {"as_of"} == set(types_pb2.JobStatistics.DESCRIPTOR.fields_by_name)


def test_statistics_cross_with_their_moment() -> None:
    tally = statistics.Tally()
    tally.add(Outcome.SUBMITTED, JobStatus.RUNNING)
    tally.add(Outcome.REJECTED, None)
    counts = tally.snapshot()
    message = answers.statistics_message(counts, NOW)
    assert message.as_of == moments.timestamp(NOW)
    assert {name: getattr(message, name) for name in dataclasses.asdict(counts)} == (
        dataclasses.asdict(counts)
    )
