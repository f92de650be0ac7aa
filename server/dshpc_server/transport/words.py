"""The contract's enum values and the domain's words, both ways."""

from collections.abc import Mapping

from dshpc.v1 import types_pb2
from dshpc_server.domain.job import Basis, JobStatus, Outcome

STATUS_VALUE: dict[JobStatus, types_pb2.JobStatus.ValueType] = {
    status: types_pb2.JobStatus.Value(f"JOB_STATUS_{status}") for status in JobStatus
}
"""The message's value of each status."""
OUTCOME_VALUE: dict[Outcome, types_pb2.Outcome.ValueType] = {
    outcome: types_pb2.Outcome.Value(f"OUTCOME_{outcome}") for outcome in Outcome
}
"""The message's value of each outcome."""
BASIS_VALUE: dict[Basis, types_pb2.PackingBasis.ValueType] = {
    basis: types_pb2.PackingBasis.Value(f"PACKING_BASIS_{basis}") for basis in Basis
}
"""The message's value of each basis."""
STATUS_OF: Mapping[int, JobStatus] = {value: status for status, value in STATUS_VALUE.items()}
"""The status of each value that means one."""
OUTCOME_OF: Mapping[int, Outcome] = {value: outcome for outcome, value in OUTCOME_VALUE.items()}
"""The outcome of each value that means one."""
