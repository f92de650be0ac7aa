"""What stands in an attempt's folder about its start and its end, by its wrapper or by a server.

`start` is made exclusively by whoever may start the attempt: its wrapper (`task.sh`), or a server
that closes the attempt, which then never starts. `exit` is the end; it gets its name when it is
whole and nothing of the attempt runs any more. The moments are those of the file server, which has
one clock for all nodes: when `start` was made and when `exit` was written.

Methods run as the user who runs the server, so what lies here may be what a method wrote. Such a
record can do no more than lie about its own attempt: it counts only when it is a regular file of a
record's size, every field is in form, and it names the attempt it is asked for. No link is
followed and no FIFO waited for. What a disk fails with (OSError) says nothing about a record: it
is raised, and not known for the moment.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from dshpc_server.engine import forms, wary

Folder = str | os.PathLike[str]

CAUSES = frozenset(
    {"NONE", "OVER_TIME", "OVER_MEMORY", "CANCELLED", "TERMINATED", "NOT_STARTED"},
)
"""Why the wrapper says that it ended. TERMINATED: Slurm told it to stop, and knows why."""

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_YOUNG_SECONDS = 10.0
"""A start that is not whole after this was made on a full disk."""
_WHOLE = forms.is_whole(0, 2**63 - 1)


def _is_string(value: object) -> bool:
    return value == "" or forms.is_name(value)


_START: Mapping[str, forms.Check] = {
    "name": forms.is_name,
    "slurm_job_id": _is_string,
    "node": _is_string,
}
_EXIT: Mapping[str, forms.Check] = {
    **_START,
    "exit_code": forms.is_null_or(forms.is_whole(0, 255)),
    "signal": forms.is_null_or(forms.is_whole(1, 64)),
    "cause": lambda value: isinstance(value, str) and value in CAUSES,
    "reason": forms.is_null_or(forms.is_text),
    "cpu_milliseconds": forms.is_null_or(_WHOLE),
    "peak_memory_bytes": forms.is_null_or(_WHOLE),
}


UnreadableError = wary.UnreadableError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StartRecord:
    """That an attempt was started, where and when."""

    slurm_job_id: str
    """Empty when what stands there does not say."""
    node: str
    at: datetime.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExitRecord:
    """How an attempt ended. Exactly one of exit_code and signal is set, but for NOT_STARTED."""

    name: str
    slurm_job_id: str
    """Empty for one that was cancelled before it was sent."""
    node: str
    exit_code: int | None
    signal: int | None
    cause: str
    """One of CAUSES."""
    reason: str | None
    """Of one that was not started."""
    cpu_milliseconds: int | None
    peak_memory_bytes: int | None
    started_at: datetime.datetime
    ended_at: datetime.datetime


def freshen(folder: Folder) -> None:
    """Have the file server tell anew what is in a folder.

    To open a folder does that on NFS, whose clients else believe for half a minute that a record
    which was not there is not there yet.
    """
    with contextlib.suppress(OSError):  # whoever reads there is told
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | wary.FLAGS))


def is_new(folder: Folder) -> bool:
    """Whether the attempt was never here: not started, not closed, and without an end."""
    return not _is_there(_path(folder, "start")) and not _is_there(_path(folder, "exit"))


def read_start(folder: Folder, name: str) -> StartRecord | None:
    """Return that the attempt was started; None when it was not, was closed, or not wholly yet.

    Something in its place that is no record still says that it was started. Raises OSError.
    """
    path = _path(folder, "start")
    try:
        record, at = _read(path)
    except UnreadableError:
        record, at = {}, _lstat(path)
    if record is None and at is not None and time.time() - at > _YOUNG_SECONDS:
        record = {}
    if record is None or at is None:
        return None
    if not forms.has_fields(record, _START) or record["name"] != name:
        record = {}
    elif not record["slurm_job_id"]:
        return None
    try:
        moment = _moment(at)
    except (OverflowError, ValueError, OSError):  # a method has set it
        moment = _moment(0)
    slurm_job_id, node = record.get("slurm_job_id", ""), record.get("node", "")
    return StartRecord(slurm_job_id=slurm_job_id, node=node, at=moment)


def read_exit(folder: Folder, name: str) -> ExitRecord | None:
    """Return the end on record; None when there is none, or it is not whole yet.

    Raises UnreadableError when what is there is not this attempt's end, and OSError.
    """
    record, ended = _read(_path(folder, "exit"))
    if record is None or ended is None:
        return None
    if not _is_end(record) or record["name"] != name:
        raise UnreadableError("not the attempt's end")
    started = _lstat(_path(folder, "start"))
    try:
        # A method may have removed its `start`; and clocks may be set back.
        started_at = _moment(ended if started is None else started)
        ended_at = max(_moment(ended), started_at)
    except (OverflowError, ValueError, OSError) as error:
        raise UnreadableError("of no moment") from error
    fields = {field: record[field] for field in _EXIT}
    return ExitRecord(**fields, started_at=started_at, ended_at=ended_at)


def close(folder: Folder, name: str) -> bool:
    """See to it that an attempt never starts; False when it was started. Raises OSError."""
    path = _path(folder, "start")
    try:
        _make_closed(path, name)
    except FileNotFoundError:
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # nothing can be started there
            return True
        return close(folder, name)
    except NotADirectoryError:
        return True
    except FileExistsError:
        return _was_closed(path, name)
    return True


def write_cancelled(folder: Folder, name: str) -> bool:
    """Put on record that an attempt was cancelled before it was sent; False when it was started.

    Raises OSError.
    """
    if not close(folder, name):
        return False
    if _is_there(_path(folder, "exit")) or not os.path.isdir(folder):
        return True
    for output in ("stdout", "stderr"):
        os.close(os.open(_path(folder, output), os.O_WRONLY | os.O_CREAT | wary.FLAGS, 0o600))
    record = {"name": name, "slurm_job_id": "", "node": "", "exit_code": None, "signal": 9}
    record |= {"cause": "CANCELLED", "reason": None}
    record |= {"cpu_milliseconds": None, "peak_memory_bytes": None}
    new = _path(folder, "exit.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | wary.FLAGS, 0o600)
    with open(descriptor, "w") as file:
        file.write(json.dumps(record) + "\n")
    os.rename(new, _path(folder, "exit"))
    return True


def _make_closed(path: str, name: str) -> None:
    descriptor = os.open(path, _FRESH, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(json.dumps({"name": name, "slurm_job_id": "", "node": ""}) + "\n")
    except OSError:
        os.unlink(path)  # it would say that somebody started it
        raise


def _was_closed(path: str, name: str) -> bool:
    try:
        record, _ = _read(path)
    except UnreadableError:
        return False
    if record is None or not forms.has_fields(record, _START):
        return False
    return bool(record["name"] == name and not record["slurm_job_id"])


def _is_end(record: Mapping[str, Any]) -> bool:
    if not forms.has_fields(record, _EXIT):
        return False
    has_code, has_signal = record["exit_code"] is not None, record["signal"] is not None
    if record["cause"] == "NOT_STARTED":
        return not has_code and not has_signal and record["reason"] is not None
    return has_code != has_signal


def _read(path: str) -> tuple[dict[str, Any] | None, float] | tuple[None, None]:
    """Return what stands there and when it was written; no record when it is not whole yet."""
    found = wary.read(path)
    if found is None:
        return None, None
    data, at = found
    if not data.endswith(b"\n"):
        return None, at
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(record, dict):
        raise UnreadableError("not a JSON object")
    return record, at


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _lstat(path: str) -> float | None:
    """When something was written, whatever it is; None when nothing is there."""
    try:
        return os.lstat(path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:  # somebody barred the way to it
        return 0.0


def _is_there(path: str) -> bool:
    try:
        return _lstat(path) is not None
    except OSError:  # not to be told: something may be there
        return True


def _path(folder: Folder, name: str) -> str:
    return os.path.join(folder, name)
