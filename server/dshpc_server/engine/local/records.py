"""What the runner leaves in an attempt's folder, so that a later runner can account for it.

`stdout` is created exclusively just before the process: while it is absent the attempt was never
started, once it exists the attempt is never started again. `process.json` names the process.
When nothing of the attempt runs any more the same file is written over and renamed `exit.json`:
an end needs no new file, so it can be recorded on a full disk, and is there whole or not at all.

Nothing is fsynced. The death of server or runner loses nothing that was written; after the death
of the machine a record may be there while the output it speaks of is not. So a record counts only
in the boot that wrote it, and an attempt that was cut off by the machine is lost (NODE_FAIL).

Methods run as the user who runs the server, so what lies here may be what a method wrote. Such a
record can do no more than lie about its own attempt: it counts only when it is whole, every field
is in form, it names the attempt it is asked for, and it stands in the process record's place, not
beside it. Whatever else is in a record's place is none. Keeping records elsewhere, out of
attempts' folders, would not end the lying: whatever this user may write a method may write too,
and one that would forge its end can as well print what it likes and exit with 0. Here they need
no clean-up of their own: a record lives as long as its attempt's folder. Only another user for
methods would make records proof.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from dshpc_server.engine import forms, wary
from dshpc_server.engine.local import processes, wire

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
UnreadableError = wary.UnreadableError
_TICKS = forms.is_whole(0, 2**63 - 1)
_PROCESS: Mapping[str, forms.Check] = {
    "pid": forms.is_whole(1, wire.MOST_PIDS),
    "start_time": lambda value: forms.has_fields(value, {"from": _TICKS, "to": _TICKS}),
}


def make_folder(folder: str, params: str) -> tuple[int, int]:
    """Make the attempt's folder, all but the workspace, and return its stdout and stderr, open.

    Raises FileExistsError for `stdout` when the attempt has been here before.
    """
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        pass
    params_fd = os.open(f"{folder}/params.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(params_fd, params.encode())
    finally:
        os.close(params_fd)
    stdout = os.open(f"{folder}/stdout", _FRESH, 0o600)
    try:
        return stdout, os.open(f"{folder}/stderr", _FRESH, 0o600)
    except OSError:
        os.close(stdout)
        raise


def make_ended_folder(folder: str, params: str) -> None:
    """Make the folder of an attempt that ended before it was started."""
    for fd in make_folder(folder, params):
        os.close(fd)


def is_new(folder: str) -> bool:
    """Whether the attempt was never here: not started, and without an end on record."""
    return not was_started(folder) and not _is_there(f"{folder}/exit.json")


def was_started(folder: str) -> bool:
    """Whether a process of this attempt was, or may have been, started."""
    return _is_there(f"{folder}/stdout")


def write_process(folder: str, name: str, pid: int, spawned_at: tuple[int, int]) -> None:
    """Name the attempt's process, so that it can be found when the runner is gone.

    Its start time is told by the clock ticks between which it was spawned: reading it from /proc
    while the process is still being set up costs 0.25 ms.
    """
    first, last = spawned_at
    record = {
        "boot_id": processes.BOOT_ID,
        "name": name,
        "pid": pid,
        "start_time": {"from": first, "to": last},
    }
    _write(f"{folder}/process.json", record)


def find_process(
    folder: str, name: str, table: Mapping[int, processes.Process]
) -> processes.Process | None:
    """The attempt's process; None when unknown, of another boot, or not living.

    Raises OSError when that cannot be told for the moment.
    """
    try:
        record = _read(f"{folder}/process.json")
    except UnreadableError:
        return None
    # Runners before this one wrote no name.
    if record is None or record.get("name", name) != name or not forms.has_fields(record, _PROCESS):
        return None
    found = table.get(record["pid"])
    started = record["start_time"]
    if found is None or not started["from"] <= found.start_time <= started["to"]:
        return None
    # It leads a session from its first moment on, and nobody takes that from it.
    return found if found.session == found.pid else None


def write_exit(folder: str, fact: wire.Fact) -> None:
    """Put the attempt's end on record."""
    _write(f"{folder}/process.json", {**fact, "boot_id": processes.BOOT_ID})
    os.rename(f"{folder}/process.json", f"{folder}/exit.json")


def read_exit(folder: str, name: str) -> wire.Fact | None:
    """Return the end on record; None when there is none, or it is of another boot.

    Raises UnreadableError when what is there is not this attempt's end, and OSError when it cannot
    be read for the moment.
    """
    record = _read(f"{folder}/exit.json")
    if record is None:
        return None
    if not wire.is_end(record) or record["name"] != name:
        raise UnreadableError("not the attempt's end")
    if _is_there(f"{folder}/process.json"):
        raise UnreadableError("an end beside the process record")
    return record


def _write(path: str, record: dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | wary.FLAGS, 0o600)
    try:
        data = json.dumps(record).encode()
        _write_all(fd, data)
        if os.fstat(fd).st_size > len(data):
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _read(path: str) -> dict[str, Any] | None:
    """Return a record of this boot, without the boot; None when there is none.

    Raises UnreadableError for what is none, and OSError when it cannot be read for the moment.
    """
    found = wary.read(path)
    if found is None:
        return None
    try:
        record = wire.parse(found[0])
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    boot_id = record.pop("boot_id", None)
    if not isinstance(boot_id, str):
        raise UnreadableError("of no boot")
    return record if boot_id == processes.BOOT_ID else None


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # somebody barred the way to it, so something was here
        return True
    return True
