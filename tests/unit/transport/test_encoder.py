"""A row's joined bytes are the message one would build in the ordinary way, in every situation."""

import dataclasses

import pytest
from google.protobuf import timestamp_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from dshpc.v1 import types_pb2
from dshpc_server.batches import encoding
from dshpc_server.domain import job
from dshpc_server.domain.job import Basis, JobStatus, Outcome, Packing
from dshpc_server.domain.lookup import Kept
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store.records import Attempt, Row
from dshpc_server.transport import encoder as encoder_module
from support import batches_values as values
from support import store_values

ENCODER = encoder_module.MultiJobResultEncoder()
HEAD = types_pb2.MultiJobResult(index=3, config_id="mine", file_hash="f" * 64, method_name="count")
HEAD.parameters["bins"] = 10
STATUS = types_pb2.JobStatus.Value
OUTCOME = types_pb2.Outcome.Value


def read(row: Row) -> types_pb2.MultiJobResult:
    return types_pb2.MultiJobResult.FromString(encoding.encoded_row(row, ENCODER))


def expected(**fields: object) -> types_pb2.MultiJobResult:
    """The head's echo and these fields."""
    made = types_pb2.MultiJobResult(**fields)  # type: ignore[arg-type]  # by name
    made.MergeFrom(HEAD)
    return made


def of_attempt(status: str, **fields: object) -> dict[str, object]:
    """The fields that any row with an attempt tells."""
    return {
        "job_id": store_values.sha("job"),
        "new_status": STATUS(f"JOB_STATUS_{status}"),
        "function_hash": store_values.sha("function"),
        "attempt": 1,
        "create_time": moment(0),
    } | fields


def moment(seconds: float) -> timestamp_pb2.Timestamp:
    made = timestamp_pb2.Timestamp()
    made.FromDatetime(store_values.later(seconds))
    return made


def row(outcome: Outcome, of: Attempt | None, old_status: JobStatus | None = None) -> Row:
    kept = Kept.NEVER if outcome is Outcome.FAILURE_KEPT else None
    head = HEAD.SerializeToString()
    return values.row(outcome, of, index=3, head=head, old_status=old_status, kept=kept)


def stored(ended: encoding.EndedAttempt, *, number: int = 1) -> Attempt:
    """An attempt as it lies in the store after its end was recorded."""
    return values.attempt(status=ended.status, result=ENCODER.ended(ended), number=number)


COMPLETED = of_attempt(
    "COMPLETED",
    exit_code=0,
    start_time=moment(3),
    end_time=moment(8),
    output="done\n",
    output_hash=store_values.sha("done\n"),
    output_size_bytes=5,
)


def failure_info(status: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=status, domain="dshpc")


def error(code: int, message: str, *details: object) -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made


FAILED = of_attempt(
    "FAILED",
    exit_code=3,
    start_time=moment(3),
    end_time=moment(8),
    error=error(code_pb2.UNKNOWN, "Exit code 3\nno such column", failure_info("FAILED")),
)
A_FAILURE = values.ended(
    JobStatus.FAILED, exit_code=3, reason="Exit code 3", stderr_tail="no such column"
)


def test_a_completed_job_is_answered_with_its_output_and_the_decisions_message() -> None:
    assert read(row(Outcome.FOUND_COMPLETED, stored(values.ended()))) == expected(
        outcome=types_pb2.OUTCOME_FOUND_COMPLETED, message="Completed job found", **COMPLETED
    )


def test_a_job_in_progress_is_answered_with_its_status_and_no_output() -> None:
    running = values.attempt(status=JobStatus.RUNNING, started_at=values.STARTED_AT)
    assert read(row(Outcome.FOUND_IN_PROGRESS, running)) == expected(
        outcome=types_pb2.OUTCOME_FOUND_IN_PROGRESS,
        message="Job in progress",
        **of_attempt("RUNNING", start_time=moment(3)),
    )


def test_a_new_job_is_answered_as_submitted() -> None:
    assert read(row(Outcome.SUBMITTED, values.attempt())) == expected(
        outcome=types_pb2.OUTCOME_SUBMITTED,
        message="New job submitted",
        **of_attempt("PENDING"),
    )


@pytest.mark.parametrize("outcome", [Outcome.SUBMITTED, Outcome.FOUND_IN_PROGRESS])
def test_when_the_job_has_ended_the_attempt_has_the_last_word(outcome: Outcome) -> None:
    assert read(row(outcome, stored(values.ended()))) == expected(
        outcome=OUTCOME(f"OUTCOME_{outcome}"), message="Job completed", **COMPLETED
    )


def test_a_failed_job_tells_how_with_the_end_of_its_log() -> None:
    assert read(row(Outcome.SUBMITTED, stored(A_FAILURE))) == expected(
        outcome=types_pb2.OUTCOME_SUBMITTED,
        message="Job ended as FAILED: Exit code 3",
        **FAILED,
    )


def test_a_resubmitted_job_tells_both_statuses() -> None:
    attempt = values.attempt(number=2)
    assert read(row(Outcome.RESUBMITTED, attempt, JobStatus.TIMEOUT)) == expected(
        outcome=types_pb2.OUTCOME_RESUBMITTED,
        old_status=types_pb2.JOB_STATUS_TIMEOUT,
        message="New job submitted after previous failure",
        **of_attempt("PENDING", attempt=2),
    )


def test_a_resubmitted_job_that_completed_keeps_its_old_status() -> None:
    ended = stored(values.ended(number=2), number=2)
    assert read(row(Outcome.RESUBMITTED, ended, JobStatus.FAILED)) == expected(
        outcome=types_pb2.OUTCOME_RESUBMITTED,
        old_status=types_pb2.JOB_STATUS_FAILED,
        message="Job completed",
        **COMPLETED | {"attempt": 2},
    )


def test_a_kept_failure_tells_the_old_error_and_that_it_was_kept() -> None:
    assert read(row(Outcome.FAILURE_KEPT, stored(A_FAILURE), JobStatus.FAILED)) == expected(
        outcome=types_pb2.OUTCOME_FAILURE_KEPT,
        old_status=types_pb2.JOB_STATUS_FAILED,
        message="Previous failure kept: resubmit_policy NEVER submits nothing again",
        **FAILED,
    )


@pytest.mark.parametrize("kept", Kept)
def test_a_kept_failure_says_which_rule_kept_it(kept: Kept) -> None:
    told = types_pb2.MultiJobResult.FromString(
        ENCODER.decision(Outcome.FAILURE_KEPT, JobStatus.FAILED, kept)
    )
    assert told.message == encoder_module.KEPT_MESSAGES[kept]
    rule = {Kept.ONLY: "ONLY", Kept.NEVER: "NEVER", Kept.PERMANENT: "78"}
    assert rule.get(kept, "max_attempts") in told.message


def test_a_row_that_waits_for_a_resubmitted_run_tells_how_the_earlier_one_ended() -> None:
    told = read(row(Outcome.FOUND_IN_PROGRESS, values.attempt(number=2), JobStatus.TIMEOUT))
    assert told.old_status == types_pb2.JOB_STATUS_TIMEOUT
    assert told.new_status == types_pb2.JOB_STATUS_PENDING


def test_a_row_that_waits_is_blocked_and_says_what_for() -> None:
    encoder = encoder_module.MultiJobResultEncoder()
    head = HEAD.SerializeToString() + encoder.waiting(["config 'a'", "job 'b'"])
    waits = values.row(Outcome.PENDING, index=3, head=head)
    assert read(waits) == expected(
        outcome=types_pb2.OUTCOME_PENDING,
        new_status=types_pb2.JOB_STATUS_BLOCKED,
        message="Waits for config 'a', job 'b'",
    )


def test_of_what_is_only_validated_a_row_that_waits_says_what_for_too() -> None:
    encoder = encoder_module.MultiJobResultEncoder()
    assert encoder.validation(Outcome.PENDING) == b""


def test_of_many_that_a_row_waits_for_the_first_are_told() -> None:
    names = [f"config '{n}'" for n in range(100)]
    told = encoder_module.MultiJobResultEncoder().waiting(names)
    message = types_pb2.MultiJobResult.FromString(told).message
    assert message.startswith("Waits for config '0', config '1'")
    assert message.endswith("config '9' and 90 more")


def test_what_was_decided_about_a_row_that_waited_has_the_last_word() -> None:
    encoder = encoder_module.MultiJobResultEncoder()
    waited = HEAD.SerializeToString() + encoder.waiting(["config 'a'"]) + encoder.input("0" * 64)
    found = read(values.row(Outcome.NOT_FOUND, index=3, head=waited))
    assert found.message == encoder_module.DECISION_MESSAGES[Outcome.NOT_FOUND]
    assert found.new_status == types_pb2.JOB_STATUS_UNSPECIFIED
    assert found.file_hash == "0" * 64


@pytest.mark.parametrize("outcome", [Outcome.NOT_FOUND, Outcome.WITHHELD])
def test_a_row_without_a_job_tells_the_decision_alone(outcome: Outcome) -> None:
    assert read(row(outcome, None)) == expected(
        outcome=OUTCOME(f"OUTCOME_{outcome}"),
        message=encoder_module.DECISION_MESSAGES[outcome],
    )


def test_a_rejected_row_tells_why_and_has_no_job() -> None:
    rejection = Rejection(
        reason=Reason.INVALID_PARAMETERS,
        message="Method 'count' refuses the parameters",
        violations=(Violation(field="parameters.bins", description="is required"),),
    )
    rejected = values.row(
        Outcome.REJECTED,
        index=3,
        head=HEAD.SerializeToString(),
        rejection=ENCODER.rejection(3, rejection),
    )
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="jobs[3].parameters.bins", description="is required"
    )
    assert read(rejected) == expected(
        outcome=types_pb2.OUTCOME_REJECTED,
        message="Method 'count' refuses the parameters",
        error=error(
            code_pb2.INVALID_ARGUMENT,
            "Method 'count' refuses the parameters",
            failure_info("INVALID_PARAMETERS"),
            error_details_pb2.BadRequest(field_violations=[violation]),
        ),
    )


def test_a_rejection_stays_small_whatever_it_speaks_of() -> None:
    flood = tuple(Violation(field="é" * 9999, description="é" * 9999) for _ in range(500))
    encoded = ENCODER.rejection(
        7, Rejection(reason=Reason.INVALID_INPUTS, message="é" * 99_999, violations=flood)
    )
    assert len(encoded) < 32 * 1024
    assert types_pb2.MultiJobResult.FromString(encoded).message == "é" * 1024


def test_a_duplicate_names_the_first_row_also_when_that_is_row_0() -> None:
    head = HEAD.SerializeToString() + ENCODER.duplicate(0)
    result = read(values.row(Outcome.SUBMITTED, values.attempt(), head=head))
    assert result.HasField("duplicate_of_index")
    assert result.duplicate_of_index == 0
    assert result.config_id == "mine"


def test_a_signal_is_told_and_no_exit_code() -> None:
    killed = values.ended(JobStatus.FAILED, exit_code=None, signal=9, reason="Killed by signal 9")
    result = read(row(Outcome.SUBMITTED, stored(killed)))
    assert result.HasField("signal")
    assert result.signal == 9
    assert not result.HasField("exit_code")


def test_a_job_that_never_started_has_no_start_time() -> None:
    never = values.ended(JobStatus.BOOT_FAIL, started_at=None, exit_code=None, reason="no bash")
    result = read(row(Outcome.SUBMITTED, stored(never)))
    assert not result.HasField("start_time")
    assert result.end_time == moment(8)
    assert result.error == error(code_pb2.FAILED_PRECONDITION, "no bash", failure_info("BOOT_FAIL"))


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("ended", [values.ended(), A_FAILURE], ids=["completed", "failed"])
def test_an_attempt_that_was_packed_says_with_how_many_and_why(
    ended: encoding.EndedAttempt, basis: Basis
) -> None:
    packed = dataclasses.replace(ended, packing=Packing(jobs=40, basis=basis))
    told = read(row(Outcome.SUBMITTED, stored(packed)))
    assert told.packing == types_pb2.Packing(
        jobs=40, basis=types_pb2.PackingBasis.Value(f"PACKING_BASIS_{basis}")
    )
    told.ClearField("packing")
    assert told == read(row(Outcome.SUBMITTED, stored(ended)))


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.REJECTED, Outcome.PENDING}))
@pytest.mark.parametrize("status", sorted(JobStatus))
def test_status_outcome_and_echo_survive_in_every_pair(outcome: Outcome, status: JobStatus) -> None:
    attempt = values.attempt(status=status)
    if status in job.TERMINAL:
        attempt = stored(values.ended(status, reason="so it was"))
    result = read(row(outcome, attempt, JobStatus.PREEMPTED))
    assert result.new_status == STATUS(f"JOB_STATUS_{status}")
    assert result.outcome == OUTCOME(f"OUTCOME_{outcome}")
    assert result.old_status == types_pb2.JOB_STATUS_PREEMPTED
    assert (result.index, result.config_id, result.parameters["bins"]) == (3, "mine", 10)
    assert result.message
    assert result.HasField("error") == (status in job.TERMINAL - {JobStatus.COMPLETED})


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.SKIPPED])
def test_a_row_that_was_withheld_says_why(status: JobStatus) -> None:
    ending = ENCODER.row_ending(status, "enough", store_values.later(9), None)
    withheld = dataclasses.replace(row(Outcome.WITHHELD, None), ended_as=status, ending=ending)
    assert read(withheld) == expected(
        outcome=OUTCOME("OUTCOME_WITHHELD"),
        new_status=STATUS(f"JOB_STATUS_{status}"),
        message=f"Row ended as {status}: enough",
        error=failure(encoder_module.FAILURE_CODES[status], "enough", str(status)),
        end_time=moment(9),
    )


def test_what_becomes_of_a_run_does_not_show_in_a_row_that_was_withdrawn() -> None:
    running = values.attempt(status=JobStatus.RUNNING, started_at=store_values.later(3))
    ending = ENCODER.row_ending(JobStatus.CANCELLED, "enough", store_values.later(9), running)
    told = set()
    completed = values.attempt(
        status=JobStatus.COMPLETED, revision=4, result=ENCODER.ended(values.ended())
    )
    for attempt in (running, completed):
        withdrawn = dataclasses.replace(
            row(Outcome.SUBMITTED, attempt), ended_as=JobStatus.CANCELLED, ending=ending
        )
        told.add(read(withdrawn).SerializeToString(deterministic=True))
    (alike,) = told
    assert types_pb2.MultiJobResult.FromString(alike) == expected(
        outcome=OUTCOME("OUTCOME_SUBMITTED"),
        **of_attempt("CANCELLED", start_time=moment(3)),
        message="Row ended as CANCELLED: enough",
        error=failure(code_pb2.CANCELLED, "enough", "CANCELLED"),
        end_time=moment(9),
    )


def failure(code: int, message: str, reason: str) -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=message)
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="dshpc"))
    return made
