"""Errors and status codes: one table, complete, and never a trailer that is too large."""

import importlib
import pkgutil
from collections.abc import Iterator

import grpc
import hypothesis
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import strategies as st

import dshpc_server
from dshpc_server import deployment, errors, maintenance
from dshpc_server.batches import intake, launching, regular
from dshpc_server.domain.rejection import Violation
from dshpc_server.engine.slurm import array_folder, cluster
from dshpc_server.files import errors as files_errors
from dshpc_server.methods import errors as method_errors
from dshpc_server.store import inspection, port
from dshpc_server.transport import listening, status
from support import transport_errors

START_UP_ONLY = {
    deployment.MismatchError,
    deployment.NoIdError,
    inspection.UnreadableError,
    maintenance.LivingServersError,
    method_errors.MethodsDirError,
    method_errors.ManifestError,
    method_errors.UnreadableError,
    method_errors.TreeError,
    port.StoreInUseError,
    port.StoreUnusableError,
    listening.ListenError,
}
"""Raised before anything is served, or by a reload that reports them."""
CAUGHT_INSIDE = {
    array_folder.InTheWayError,
    cluster.RefusedError,
    cluster.UnknownOutcomeError,
    cluster.UnreachableError,
    port.ContentGoingError,
    port.FencedError,
    port.RequestAcceptedError,
    files_errors.OutputRefusedError,
    files_errors.StoredMeanwhileError,
    regular.NotRegularError,
    intake.UnreadableOutputError,
    launching.NotLaunchableError,
}
"""Turned into the end of an attempt, or into an answer."""

texts = st.text(max_size=3000) | st.integers(0, 5000).map(
    lambda count: "\N{GRINNING FACE}\0é" * count
)


def every_error() -> Iterator[type[errors.DshpcError]]:
    for module in pkgutil.walk_packages(dshpc_server.__path__, "dshpc_server."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    waiting: list[type[errors.DshpcError]] = [errors.DshpcError]
    while waiting:
        subclasses = [
            each for each in waiting.pop().__subclasses__() if each.__module__.startswith("dshpc")
        ]
        waiting += subclasses
        yield from subclasses


def details(end: status.CallStatus) -> status_pb2.Status:
    ((key, encoded),) = end.trailing_metadata()
    assert key == "grpc-status-details-bin"
    return status_pb2.Status.FromString(encoded)


def told(error: Exception) -> status.CallStatus:
    end = status.of(error)
    assert end is not None
    return end


def test_every_error_has_a_code_or_cannot_reach_a_handler() -> None:
    listed = {type(error) for error in transport_errors.REACHING} | START_UP_ONLY | CAUGHT_INSIDE
    assert set(every_error()) == listed


@pytest.mark.parametrize(
    ("error", "code"),
    transport_errors.REACHING.items(),
    ids=[type(error).__name__ for error in transport_errors.REACHING],
)
def test_an_error_has_its_code_and_says_so_in_its_details(
    error: errors.DshpcError, code: grpc.StatusCode
) -> None:
    end = told(error)
    assert end.code is code
    assert end.message == str(error)
    assert details(end).code == code.value[0]
    assert details(end).message == end.message


@pytest.mark.parametrize(
    "error", [errors.DshpcError("secret"), port.StoreInUseError("x"), ValueError("secret")]
)
def test_what_has_no_code_is_a_bug(error: Exception) -> None:
    assert status.of(error) is None


def test_a_bug_tells_its_incident_and_nothing_else() -> None:
    end = status.of_bug("1234")
    assert end.code is grpc.StatusCode.INTERNAL
    assert end.message == "internal error, incident 1234"
    assert end.trailing_metadata() == ()


def test_what_can_be_asked_again_says_when() -> None:
    for end in (
        told(errors.UnavailableError("busy", retry_after_seconds=2.5)),
        status.of_stopping(),
    ):
        assert end.code is grpc.StatusCode.UNAVAILABLE
        retry = error_details_pb2.RetryInfo()
        (packed,) = details(end).details
        assert packed.Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() in (1000, 2500)


def test_a_disk_without_room_says_when_and_is_no_limit_of_the_request() -> None:
    end = told(errors.NoRoomError("there is no room on disk", retry_after_seconds=30.0))
    assert end.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry = error_details_pb2.RetryInfo()
    (packed,) = details(end).details
    assert packed.Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 30_000


def test_a_limit_is_named_with_advice() -> None:
    quota, retry = details(told(errors.LimitExceededError("rows", maximum=1, actual=2))).details
    violation = error_details_pb2.QuotaFailure()
    assert quota.Unpack(violation)
    assert violation.violations[0].subject == "rows"
    assert retry.Is(error_details_pb2.RetryInfo.DESCRIPTOR)


def test_what_is_in_use_is_named_with_its_user() -> None:
    (packed,) = details(told(errors.InUseError("file", "a", user="job b"))).details
    failure = error_details_pb2.PreconditionFailure()
    assert packed.Unpack(failure)
    (violation,) = failure.violations
    assert (violation.type, violation.subject) == ("IN_USE", "file/a")
    assert violation.description == "file 'a' is needed by job b"


def test_what_another_call_took_over_can_be_asked_again() -> None:
    (packed,) = details(told(errors.SupersededError("another call goes on"))).details
    assert packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR)


def test_what_was_not_found_is_named() -> None:
    (packed,) = details(told(errors.NotFoundError("batch", "b"))).details
    resource = error_details_pb2.ResourceInfo()
    assert packed.Unpack(resource)
    assert (resource.resource_type, resource.resource_name) == ("batch", "b")


def test_every_violation_that_fits_is_told_and_always_the_first() -> None:
    flood = [Violation(field="é" * 999, description="\N{GRINNING FACE}" * 999)] * 50
    for violations in (
        [transport_errors.A_VIOLATION, *flood],
        flood,
        [transport_errors.A_VIOLATION] * 3,
    ):
        (packed,) = details(told(errors.InvalidRequestError(*violations))).details
        bad = error_details_pb2.BadRequest()
        assert packed.Unpack(bad)
        assert bad.field_violations
        assert violations[0].field.startswith(bad.field_violations[0].field)
    assert len(bad.field_violations) == 3


@hypothesis.given(texts, texts)
def test_nothing_that_a_client_sends_makes_a_trailer_too_large(one: str, other: str) -> None:
    for error in (
        errors.InvalidRequestError(*[Violation(field=one, description=other)] * 20),
        errors.NotFoundError("job", one),
        errors.LimitExceededError(one[:256], maximum=1, actual=2**63),
        errors.UnavailableError(one, retry_after_seconds=1.0),
        errors.NoRoomError(one, retry_after_seconds=1.0),
        errors.BeingRemovedError("file", one, retry_after_seconds=1.0),
        errors.InUseError("file", one, user=other),
        errors.SupersededError(one),
    ):
        end = told(error)
        assert len(end.message.encode()) <= 1024
        assert end.message.isprintable()
        assert sum(len(value) for _, value in end.trailing_metadata()) <= 4096
        assert details(end).details
