"""What the runner leaves in an attempt's folder, so that a later runner can account for it.

`stdout` is created exclusively just before the process: while it is absent the attempt was never
started, once it exists the attempt is never started again. `process.json` names the process.
When nothing of the attempt runs any more the same file is written over and renamed `exit.json`:
an end needs no new file, so it can be recorded on a full disk, and is there whole or not at all.

Nothing is fsynced. The death of server or runner loses nothing that was written; after the death
of the machine a record may be there while the output it speaks of is not. So a record counts only
in the boot that wrote it, and an attempt that was cut off by the machine is lost (NODE_FAIL).
"""

import errno
import json
import os
from collections.abc import Mapping
from typing import Any, cast

from dshpc_server.engine.local import processes, wire

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A method may do what it likes to its folder: no link is followed, no FIFO waited for.
_WARY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RECORD_LIMIT_BYTES = 64 * 2**10
# What the machine is short of for the moment says nothing about a record.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})


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


def was_started(folder: str) -> bool:
    """Whether a process of this attempt was, or may have been, started."""
    return os.access(f"{folder}/stdout", os.F_OK, follow_symlinks=False)


def write_process(folder: str, pid: int, spawned_at: tuple[int, int]) -> None:
    """Name the attempt's process, so that it can be found when the runner is gone.

    Its start time is told by the clock ticks between which it was spawned: reading it from /proc
    while the process is still being set up costs 0.25 ms.
    """
    first, last = spawned_at
    record = {
        "boot_id": processes.BOOT_ID,
        "pid": pid,
        "start_time": {"from": first, "to": last},
    }
    _write(f"{folder}/process.json", record)


def find_process(folder: str, table: Mapping[int, processes.Process]) -> processes.Process | None:
    """The attempt's process; None when unknown, of another boot, or not living."""
    record = _read(f"{folder}/process.json")
    if record is None or "start_time" not in record:
        return None
    found = table.get(record["pid"])
    started = record["start_time"]
    return found if found and started["from"] <= found.start_time <= started["to"] else None


def write_exit(folder: str, fact: wire.Fact) -> None:
    """Put the attempt's end on record."""
    _write(f"{folder}/process.json", {**fact, "boot_id": processes.BOOT_ID})
    os.rename(f"{folder}/process.json", f"{folder}/exit.json")


def read_exit(folder: str) -> wire.Fact | None:
    """Return the end on record; None when there is none that counts."""
    return cast("wire.Fact | None", _read(f"{folder}/exit.json"))


def _write(path: str, record: dict[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | _WARY, 0o600)
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
    """Return a record; None for what is none, or cannot be read."""
    try:
        record = json.loads(_content(path))
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return None
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop("boot_id", None) != processes.BOOT_ID:
        return None
    return record


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | _WARY)
    try:
        return os.read(fd, _RECORD_LIMIT_BYTES)
    finally:
        os.close(fd)
