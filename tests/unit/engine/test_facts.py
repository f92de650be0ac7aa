"""What a runner tells: why an attempt was not started, what it used, and what that means."""

import errno
import pathlib

import pytest

from dshpc_server.domain.job import AttemptKey, Usage
from dshpc_server.engine import port
from dshpc_server.engine.local import contract, facts, memory, wire
from dshpc_server.engine.local.attempt import NO_SLOT, Attempt

KEY = AttemptKey(job_id="a" * 64, number=1)


def _told(fact: wire.Fact) -> port.NotStarted:
    assert wire.is_fact(fact)
    told = contract.fact_of(fact, KEY, pathlib.Path("/f"), "node")
    assert isinstance(told, port.NotStarted)
    return told


@pytest.mark.parametrize(
    ("error", "is_permanent"),
    [
        (FileNotFoundError(errno.ENOENT, "command not found: x"), True),
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.ENOEXEC, "Exec format error"), True),
        (ValueError("embedded null byte"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
        (OSError(errno.EIO, "Input/output error"), False),
    ],
)
def test_what_is_wrong_with_a_command_stays_so_and_a_shortage_passes(
    error: OSError | ValueError, *, is_permanent: bool
) -> None:
    told = _told(facts.not_started(contract.name_of(KEY), error))
    assert told.is_permanent is is_permanent
    assert told.reason == (getattr(error, "strerror", None) or str(error))


@pytest.mark.parametrize("said", [None, 1, "true", [True]])
def test_a_record_that_does_not_say_so_in_form_is_not_permanent(said: object) -> None:
    fact = facts.not_started(contract.name_of(KEY), FileNotFoundError(errno.ENOENT, "gone"))
    del fact["is_permanent"]
    assert not _told(fact).is_permanent
    assert not _told(fact | {"is_permanent": said}).is_permanent  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("over_bytes", "is_told"), [(-(2**20), False), (0, False), (1, True), (2**30, True)]
)
def test_a_peak_is_told_if_it_cannot_be_the_runners_own(
    monkeypatch: pytest.MonkeyPatch, over_bytes: int, *, is_told: bool
) -> None:
    floor_bytes = 2**24
    monkeypatch.setattr(memory, "floor_bytes", lambda: floor_bytes)
    attempt = Attempt(name=contract.name_of(KEY), folder="/f", memory_bytes=0, slot=NO_SLOT)
    attempt.peak_bytes, attempt.cpu_seconds = floor_bytes + over_bytes, 1.25
    fact = facts.exited(attempt, 0, exceeded=False)
    assert wire.is_end(fact)
    told = contract.fact_of(fact, KEY, pathlib.Path("/f"), "node")
    assert isinstance(told, port.Exited)
    assert told.usage.cpu_seconds == 1.25
    assert told.usage.peak_memory_bytes == (attempt.peak_bytes if is_told else None)


def test_nothing_is_known_of_what_an_attempt_used_that_never_ran() -> None:
    fact = facts.cancelled_unstarted(contract.name_of(KEY))
    assert wire.is_end(fact)
    told = contract.fact_of(fact, KEY, pathlib.Path("/f"), "node")
    assert isinstance(told, port.Exited)
    assert told.usage == Usage()
