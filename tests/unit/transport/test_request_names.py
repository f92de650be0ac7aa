"""The names of requests: what is a name, and what the checksum beside it is of."""

import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from dshpc_server import errors
from dshpc_server.store.records import RequestName
from dshpc_server.transport import request_names
from support import calls

NAME = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def named(
    *configs: types_pb2.JobConfig, request_id: str = NAME, **options: object
) -> RequestName | None:
    return request_names.of_batch(
        job_service_pb2.SimulateJobsRequest(
            jobs=configs or [calls.config("hello", "a" * 64, {"x": 1})],
            options=types_pb2.BatchOptions(request_id=request_id, **options),  # type: ignore[arg-type] # by name
        )
    )


def test_a_request_without_a_name_has_none() -> None:
    assert named(request_id="") is None


@pytest.mark.parametrize(
    "text",
    [
        "x",
        NAME[:-1],
        NAME + "0",
        NAME + "\n",
        NAME.replace("-", ""),
        "{" + NAME + "}",
        f"urn:uuid:{NAME}",
        NAME.replace("6", "٦"),
    ],
)
def test_what_is_no_uuid_is_no_name(text: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as refused:
        named(request_id=text)
    assert [violation.field for violation in refused.value.violations] == ["options.request_id"]


def test_a_name_is_the_same_in_capitals() -> None:
    assert named(request_id=NAME.upper()) == named()


def test_how_a_request_is_sent_and_waited_for_makes_no_other_one_of_it() -> None:
    options = types_pb2.BatchOptions(request_id=NAME, display_name="b")
    config = calls.config("hello", "a" * 64, {"x": 1, "y": [1, {"z": None}], "a": "b"})
    unary = job_service_pb2.SimulateJobsRequest(jobs=[config], options=options)
    stream = job_service_pb2.StreamSimulateJobsRequest(
        jobs=[config],
        options=options,
        wait=calls.until_finished(5),
        stream=types_pb2.StreamOptions(include_transitions=True),
    )
    assert request_names.of_batch(unary) == request_names.of_batch(stream)


def test_how_much_may_be_answered_makes_no_other_request_of_it() -> None:
    assert named(max_inline_output_bytes=0, max_response_bytes=1000) == named()


def test_the_order_in_which_parameters_were_written_makes_no_other_request() -> None:
    there = {f"p{n}": n for n in range(20)}
    back = dict(reversed(there.items()))
    assert named(calls.config("hello", "", there)) == named(calls.config("hello", "", back))  # type: ignore[arg-type] # numbers


def test_whatever_else_is_asked_makes_another_request() -> None:
    hello, other = calls.config("hello", "a" * 64), calls.config("other", "a" * 64)
    asked = [
        named(hello),
        named(other),
        named(hello, other),
        named(other, hello),
        named(calls.config("hello", "a" * 64, {})),
        named(calls.config("hello", "a" * 64, {"x": 1})),
        named(calls.config("hello", "a" * 64, priority=1)),
        named(hello, display_name="b"),
        named(hello, priority=1),
        named(hello, max_failures=1),
        named(hello, validate_only=True),
    ]
    assert len({name.request_hash for name in asked if name is not None}) == len(asked)
