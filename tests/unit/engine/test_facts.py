"""Why an attempt was not started, and whether trying again can help."""

import errno
import pathlib

import pytest

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import port
from dshpc_server.engine.local import contract, facts, wire

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
