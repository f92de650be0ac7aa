"""What sbatch of Slurm 22.05 said, and what follows: a table."""

import pytest

from dshpc_server.engine.slurm import refusals
from dshpc_server.engine.slurm.cluster import RefusedError, UnknownOutcomeError
from dshpc_server.engine.slurm.conversation import Answer

_FAILED = "sbatch: error: Batch job submission failed: "
_RETRYING = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
_QUEUE_FULL = "sbatch: error: Slurm job queue full, sleeping and retrying\n"
_NO_NODE = "Requested node configuration is not available"
_POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def _answer(complaints: str, *, exit_code: int | None = 1, seconds: float = 0.01) -> Answer:
    said = complaints.encode()
    return Answer(exit_code=exit_code, output=b"", complaints=said, seconds=seconds)


def _failed(reason: str, before: str = "") -> str:
    return (f"sbatch: error: {before}\n" if before else "") + f"{_FAILED}{reason}\n"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("Memory specification can not be satisfied", _NO_NODE),
        ("CPU count per node can not be satisfied", _NO_NODE),
        ("", _NO_NODE),
        ("invalid partition specified: nope", "Invalid partition name specified"),
        ("", "Invalid account or account/partition combination specified"),
        ("", "Invalid qos specification"),
        ("", "Requested time limit is invalid (missing or exceeds some limit)"),
        ("", "More processors requested than permitted"),
        ("", "Invalid job array specification"),
        ("", "Requested reservation is invalid"),
        ("", "Invalid feature specification"),
        ("", "Invalid node name specified"),
        ("", "Invalid license specification"),
        ("QOSMaxWallDurationPerJobLimit", _POLICY),
        ("no jobs on Sundays", "Unspecified error"),
    ],
)
def test_what_the_controller_will_never_take_is_refused_for_good(before: str, reason: str) -> None:
    problem = refusals.problem(_answer(_failed(reason, before)))

    assert isinstance(problem, RefusedError)
    assert problem.is_permanent


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("AssocMaxSubmitJobLimit", _POLICY),
        ("QOSMaxSubmitJobPerUserLimit", _POLICY),
        ("", "Required partition not available (inactive or drain)"),
        ("", "Unable to create job record, try again"),
        ("", "I/O error writing script/environment to file"),
    ],
)
def test_what_the_controller_is_short_of_is_refused_for_the_moment(
    before: str, reason: str
) -> None:
    problem = refusals.problem(_answer(_failed(reason, before)))

    assert isinstance(problem, RefusedError)
    assert not problem.is_permanent


@pytest.mark.parametrize(
    ("complaints", "exit_code"),
    [
        ("sbatch: error: Invalid --time specification\n", 255),
        (
            "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information\n",
            255,
        ),
        ("sbatch: error: Invalid generic resource (gres) specification\n", 1),
        ("sbatch: error: Unable to open file /data/task.sh\n", 1),
    ],
)
def test_what_sbatch_itself_finds_fault_with_was_not_sent(complaints: str, exit_code: int) -> None:
    problem = refusals.problem(_answer(complaints, exit_code=exit_code))

    assert isinstance(problem, RefusedError)
    assert problem.is_permanent


@pytest.mark.parametrize(
    ("complaints", "exit_code"),
    [
        (_failed("Socket timed out on send/recv operation"), 1),
        (_failed("Unable to contact slurm controller (connect failure)"), 1),
        (_failed("Unable to contact slurm controller (receive failure)"), 1),
        (_failed("Zero Bytes were transmitted or received"), 1),
        (_failed("Protocol authentication error"), 1),
        (_failed("Something that nobody has seen yet"), 1),
        ("sbatch: fatal: out of memory\n", 1),
        ("", 1),
        ("", -11),
        ("", None),
    ],
)
def test_of_anything_else_nobody_knows_the_outcome(complaints: str, exit_code: int | None) -> None:
    assert isinstance(
        refusals.problem(_answer(complaints, exit_code=exit_code)), UnknownOutcomeError
    )


def test_who_was_to_try_again_and_was_gone_before_is_refused_for_the_moment() -> None:
    problem = refusals.problem(_answer(_RETRYING, exit_code=None, seconds=0.9))

    assert isinstance(problem, RefusedError)
    assert not problem.is_permanent


@pytest.mark.parametrize(
    "complaints",
    [
        _failed(_POLICY, "AssocMaxSubmitJobLimit"),
        _failed(_POLICY, "QOSMaxSubmitJobPerUserLimit"),
        _failed("Slurm job queue full, sleeping and retrying"),
        _RETRYING,
        _QUEUE_FULL,
    ],
)
def test_where_there_is_no_room_for_so_many_fewer_may_be_taken(complaints: str) -> None:
    problem = refusals.problem(_answer(complaints))

    assert isinstance(problem, RefusedError)
    assert (problem.is_permanent, problem.is_too_large) == (False, True)


@pytest.mark.parametrize(
    "complaints",
    [
        _failed(_NO_NODE),
        _failed(_POLICY, "QOSMaxWallDurationPerJobLimit"),
        _failed("Required partition not available (inactive or drain)"),
        _failed("Unable to create job record, try again"),
        "sbatch: error: Job creation temporarily disabled, sleeping and retrying\n",
    ],
)
def test_what_is_refused_for_another_reason_would_be_refused_of_fewer_too(complaints: str) -> None:
    problem = refusals.problem(_answer(complaints))

    assert isinstance(problem, RefusedError)
    assert not problem.is_too_large


def test_who_may_have_tried_again_may_have_been_taken() -> None:
    problem = refusals.problem(_answer(_RETRYING, exit_code=None, seconds=1.1))

    assert isinstance(problem, UnknownOutcomeError)


def test_the_reason_is_told_with_what_was_said_before_it() -> None:
    complaints = _failed(_NO_NODE, "Memory specification can not be satisfied")

    assert str(refusals.problem(_answer(complaints))) == (
        "Requested node configuration is not available (Memory specification can not be satisfied)"
    )


def test_what_is_told_is_printable_and_short() -> None:
    said = str(refusals.problem(_answer(f"{_FAILED}\x1b[2J{'x' * 10_000}\n")))

    assert said.isprintable()
    assert len(said) <= 200


def test_who_said_nothing_is_told_by_how_it_ended() -> None:
    assert "20 s" in str(refusals.problem(_answer("", exit_code=None, seconds=20.0)))
    assert "-11" in str(refusals.problem(_answer("", exit_code=-11)))
