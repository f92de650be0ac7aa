"""The contract's words as people say them, and amounts of time. Pure."""

from typing import Any

from google.protobuf import message, timestamp_pb2

from dshpc.client import statuses
from dshpc.v1 import batch_service_pb2, types_pb2


def status(value: types_pb2.JobStatus.ValueType) -> str:
    """Return a status as people say it; a newer server's unknown one as its number."""
    names = types_pb2.JobStatus
    known = value in names.values()
    return names.Name(value).removeprefix("JOB_STATUS_") if known else str(value)


def outcome(value: types_pb2.Outcome.ValueType) -> str:
    """Return an outcome as people say it; a newer server's unknown one as its number."""
    names = types_pb2.Outcome
    known = value in names.values()
    return names.Name(value).removeprefix("OUTCOME_") if known else str(value)


def state(value: batch_service_pb2.BatchState.ValueType) -> str:
    """Return the state of a batch as people say it; a newer server's unknown one as its number."""
    names = batch_service_pb2.BatchState
    known = value in names.values()
    return names.Name(value).removeprefix("BATCH_STATE_") if known else str(value)


def style(value: types_pb2.JobStatus.ValueType) -> str:
    """Return the colour of a status."""
    if value == types_pb2.JOB_STATUS_COMPLETED:
        return "green"
    return "yellow" if value in statuses.IN_PROGRESS else "red"


def duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def run_time(of: message.Message) -> str:
    """Return how long the process of a row, a job or an attempt ran; nothing when not known."""
    moments = _set_fields(of)
    if not {"start_time", "end_time"} <= moments.keys():
        return ""
    start, end = moments["start_time"], moments["end_time"]
    return duration((end.ToNanoseconds() - start.ToNanoseconds()) / 1e9)


def time_spent(of: message.Message, name: str) -> str:
    """Return a field's duration for people; nothing when it is not set."""
    durations = _set_fields(of)
    return duration(durations[name].ToNanoseconds() / 1e9) if name in durations else ""


def packed(of: message.Message) -> str:
    """Return how an attempt shared a task with others; nothing when it did not."""
    packing = _set_fields(of).get("packing")
    if packing is None:
        return ""
    why = {
        types_pb2.PACKING_BASIS_DECLARED: ", short as its method declares",
        types_pb2.PACKING_BASIS_OBSERVED: ", short as earlier runs were",
    }
    return f"{packing.jobs} jobs in one task{why.get(packing.basis, '')}"


def moment(of: message.Message, name: str) -> str:
    """Return a field's moment in UTC to the second; nothing when it is not set."""
    moments = _set_fields(of)
    if name not in moments:
        return ""
    return timestamp_pb2.Timestamp(seconds=moments[name].seconds).ToJsonString()


def exit_of(of: message.Message) -> str:
    """Return how a process ended: `exit code 3`, `signal 9`, or nothing."""
    found = _set_fields(of)
    if "signal" in found:
        return f"signal {found['signal']}"
    return f"exit code {found['exit_code']}" if "exit_code" in found else ""


def _set_fields(of: message.Message) -> dict[str, Any]:
    # By name, because rows, jobs, attempts and files share these fields and no type.
    return {field.name: value for field, value in of.ListFields()}
