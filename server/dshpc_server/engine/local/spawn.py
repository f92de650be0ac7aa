"""Starts one attempt's process: its folder, its files, its session, its environment.

posix_spawn takes the vfork path: no copy of the runner, no code between fork and exec. It cannot
change the directory, so the runner does: it has one thread and does not care where it stands.
"""

import errno
import os
import signal
import stat
import time

from dshpc_server.engine.local import processes, records, wire, workspaces
from dshpc_server.engine.local.attempt import Attempt
from dshpc_server.engine.local.tree import Tree

# What a shell passes over when it looks a command up; of other errors nobody knows what they hide.
_NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)
# What the runner or whoever started it ignores is not to be ignored by methods.
_DEFAULT_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class Spawner:
    """Starts processes; holds what all of them share."""

    def __init__(self, tree: Tree, rooms: workspaces.Workspaces) -> None:
        self._tree = tree
        self._rooms = rooms
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._programs: dict[tuple[str, str], str] = {}

    def close(self) -> None:
        """Give the shared file back."""
        os.close(self._devnull)

    def start(self, job: wire.Job) -> Attempt:
        """Start the attempt's process.

        Raises OSError or ValueError when that is not possible; then nothing runs.
        """
        stdout, stderr = records.make_folder(job["folder"], job["params"])
        try:
            self._rooms.give(f"{job['folder']}/workspace")
            os.chdir(job["cwd"])
            program = self._program(job["argv"][0], job["env"]["PATH"])
            return self._spawn(job, program, (self._devnull, stdout, stderr))
        finally:
            os.close(stdout)
            os.close(stderr)

    def _spawn(self, job: wire.Job, program: str, files: tuple[int, int, int]) -> Attempt:
        slot = self._tree.enter()
        attempt = Attempt(
            name=job["name"], folder=job["folder"], memory_bytes=job["memory_bytes"], slot=slot
        )
        before = processes.ticks()
        try:
            attempt.pid = os.posix_spawn(
                program,
                job["argv"],
                job["env"],
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate(files)],
                setsid=True,
                setsigmask=[],
                setsigdef=_DEFAULT_SIGNALS,
            )
        except (OSError, ValueError):
            self._tree.leave(slot)
            raise
        attempt.spawned_at = (before, processes.ticks())
        attempt.started_at = time.time()
        attempt.deadline = time.monotonic() + job["timeout_seconds"]
        return attempt

    def _program(self, word: str, path: str) -> str:
        known = self._programs.get((word, path))
        if known is None or not os.access(known, os.X_OK):
            known = self._programs[word, path] = _which(word, path)
        return known


def _which(word: str, path: str) -> str:
    if "/" in word:  # as a shell has it: not looked up, and relative to the method's folder
        return word
    unknown: OSError | None = None
    for directory in path.split(os.pathsep):
        candidate = os.path.join(directory, word)
        try:
            is_file = stat.S_ISREG(os.stat(candidate).st_mode)
        except OSError as error:
            if error.errno not in _NOT_HERE:  # it may be here all the same
                unknown = error
            continue
        if is_file and os.access(candidate, os.X_OK):
            return candidate
    raise unknown or FileNotFoundError(errno.ENOENT, f"command not found: {word}")
