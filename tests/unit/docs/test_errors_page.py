"""docs/errors.md: every status, rejection, failure and limit is told, and none that is not."""

import re

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2

from dshpc.v1 import server_service_pb2
from dshpc_server.transport import encoder, limits, status
from support import documents, transport_errors

PAGE = "docs/errors.md"
UNPUBLISHED = {
    "upload_stall_seconds",
    "write_stall_seconds",
    "max_dependencies_per_request",
    "file_hashes",
}
"""Limits that are told as such, but that GetServerInfo does not publish."""


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading, by their first cell."""
    part = documents.text(PAGE).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({row[0] for row in cells}) == len(cells), "a row stands there twice"
    return {row[0].strip("`"): row[1:] for row in cells}


def statuses() -> list[status.CallStatus]:
    """An example of every status that a call may end with."""
    ends = [status.of(error) for error in transport_errors.REACHING]
    return [*(end for end in ends if end), status.of_stopping(), status.of_bug("1234")]


def test_every_code_a_call_may_end_with_has_one_row_and_no_other_has() -> None:
    assert rows("A call that fails").keys() == {end.code.name for end in statuses()}


@pytest.mark.parametrize("end", statuses(), ids=lambda end: f"{end.code.name}-{end.message[:20]}")
def test_the_details_of_a_code_are_told(end: status.CallStatus) -> None:
    told = rows("A call that fails")[end.code.name][0]
    names = {type(detail).__name__ for detail in end.details}
    # A disk without room is over no limit.
    is_of_a_disk = end.code is grpc.StatusCode.RESOURCE_EXHAUSTED and names == {"RetryInfo"}
    assert is_of_a_disk or names == set(re.findall(r"BadRequest|[A-Z]\w*(?:Info|Failure)", told))


def test_everything_that_may_stand_in_the_way_is_told() -> None:
    unmet = [
        violation.type
        for end in statuses()
        for detail in end.details
        if isinstance(detail, error_details_pb2.PreconditionFailure)
        for violation in detail.violations
    ]
    assert sorted(rows("When something stands in the way")) == sorted(unmet)


def test_every_limit_is_told_and_nothing_else() -> None:
    published = {field.name for field in server_service_pb2.Limits.DESCRIPTOR.fields}
    assert rows("Limits").keys() == published | UNPUBLISHED
    settable = set(limits.Limits.__dataclass_fields__)
    assert settable <= rows("Limits").keys()


def test_every_reason_of_a_rejection_has_its_code() -> None:
    told = {reason: row[0] for reason, row in rows("A row that is rejected").items()}
    assert told == {
        str(reason): code_pb2.Code.Name(code) for reason, code in encoder.REJECTION_CODES.items()
    }


def test_every_status_of_a_failed_job_has_its_code() -> None:
    told = {name: row[0] for name, row in rows("A job that fails").items()}
    assert told == {
        str(name): code_pb2.Code.Name(code) for name, code in encoder.FAILURE_CODES.items()
    }


def test_what_comes_from_grpc_itself_is_told_to_do_so() -> None:
    (paragraph,) = re.findall(
        r"Some statuses come from gRPC(.*?)\n\n", documents.text(PAGE), re.DOTALL
    )
    named = set(re.findall(r"\b[A-Z]{2,}_?[A-Z_]+\b", paragraph)) - {"UNKNOWN"}
    assert named <= {code.name for code in grpc.StatusCode}
    assert "UNKNOWN is never used" in paragraph
