"""The domain's words and the contract's enum values are the same set, both ways."""

import pytest
from google.protobuf import descriptor

from dshpc.v1 import types_pb2
from dshpc_server.domain import job, lookup
from dshpc_server.domain.job import Basis, JobStatus, Outcome
from dshpc_server.domain.rejection import Reason
from dshpc_server.transport import encoder, words


@pytest.mark.parametrize(
    ("kind", "prefix", "meant"),
    [
        (types_pb2.JobStatus.DESCRIPTOR, "JOB_STATUS_", set(JobStatus)),
        (types_pb2.Outcome.DESCRIPTOR, "OUTCOME_", set(Outcome)),
        (types_pb2.PackingBasis.DESCRIPTOR, "PACKING_BASIS_", set(Basis)),
    ],
)
def test_every_value_of_the_contract_is_a_word_of_the_domain(
    kind: descriptor.EnumDescriptor, prefix: str, meant: set[str]
) -> None:
    names = {value.name.removeprefix(prefix) for value in kind.values}
    assert names - {"UNSPECIFIED"} == meant


def test_the_tables_go_both_ways_and_leave_out_unspecified() -> None:
    assert {words.STATUS_OF[value] for value in words.STATUS_VALUE.values()} == set(JobStatus)
    assert {words.OUTCOME_OF[value] for value in words.OUTCOME_VALUE.values()} == set(Outcome)
    assert types_pb2.JOB_STATUS_UNSPECIFIED not in words.STATUS_OF
    assert types_pb2.OUTCOME_UNSPECIFIED not in words.OUTCOME_OF


def test_every_outcome_has_its_message() -> None:
    own = {Outcome.REJECTED, Outcome.FAILURE_KEPT}
    assert encoder.DECISION_MESSAGES.keys() == set(Outcome) - own
    assert encoder.KEPT_MESSAGES.keys() == set(lookup.Kept)
    assert all(encoder.DECISION_MESSAGES.values())
    assert all(encoder.KEPT_MESSAGES.values())


def test_every_way_to_end_without_completing_has_its_code() -> None:
    assert encoder.FAILURE_CODES.keys() == job.TERMINAL - {JobStatus.COMPLETED}
    assert all(encoder.FAILURE_CODES.values())


def test_every_rejection_has_its_code() -> None:
    assert encoder.REJECTION_CODES.keys() == set(Reason)
    assert all(encoder.REJECTION_CODES.values())
