"""The runner: `python -m dshpc_server.engine.local.runner --folder F [--confinement auto|none]`.

Started by the server, it becomes a session of its own and returns once it listens, so that its
end has nothing to do with the server's. It ends when nobody is connected and nothing runs. On
SIGTERM it ends all attempts as lost and then itself; SIGHUP, which a server takes as a wish to have
its methods read again, it ignores. There is one runner a folder: a second one leaves when it finds
the first one listening, or with exit code 75 when that one does not come up.

One thread, the standard library alone. `runner.log` holds short lines of what went wrong; never a
parameter, never the name of an input.
"""

import contextlib
import fcntl
import os
import resource
import signal
import sys
import time
import types

from dshpc_server import crashing
from dshpc_server.engine.local import channel, confinement, supervisor, wire, workspaces
from dshpc_server.engine.local.attempt import Attempt

EXIT_LOCKED = 75
_LOCK_SECONDS = 10.0
"""A predecessor on its way out holds the lock a moment longer."""
_FIRST_CONNECTION_SECONDS = 5.0
_STARTS_A_TURN = 4
"""Starting takes about 0.5 ms each; ends are looked at in between."""
_LOG_LIMIT_BYTES = 4 * 2**20


def main() -> None:
    """Become the runner of a folder."""
    # Who sends it to all that is called dshpc_server does not mean us. Methods get the default.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    crashing.arm(os.environ.get(crashing.RUNNER_VARIABLE, ""))
    folder, kind = _arguments(sys.argv[1:])
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lock = _lock(folder)
    if lock is None:
        sys.exit(0 if _is_served(folder) else EXIT_LOCKED)
    running: dict[str, Attempt] = {}
    # The listening socket comes first: who can connect is served once the rest is ready.
    listening = channel.listen(folder)
    if os.fork():
        os._exit(0)
    _redirect_output(folder)
    held = confinement.choose(kind, folder, running.values)
    _log(f"event=started {held.words}")
    rooms = workspaces.Workspaces(f"{folder}/{wire.SPARES_NAME}")
    attempts = supervisor.Supervisor(running=running, confinement=held, rooms=rooms, log=_log)
    hello: wire.Hello = {"version": wire.VERSION, "pid": os.getpid(), "confinement": held.words}
    peers = channel.Channel(listening=listening, hello=hello, take=attempts.take, log=_log)
    with contextlib.ExitStack() as exits:  # each is taken, whatever the others meet
        exits.callback(os.close, lock)
        exits.callback(_log, "event=stopped")
        exits.callback(attempts.close)
        exits.callback(peers.close)
        exits.callback(_remove_socket, folder)
        _serve(attempts, peers)


def _serve(attempts: supervisor.Supervisor, peers: channel.Channel) -> None:
    signals = _Signals()
    peers.watch(signals.fd, signals.take)
    lonely_until = time.monotonic() + _FIRST_CONNECTION_SECONDS
    while True:
        now = time.monotonic()
        moments = [attempts.due_at(now), None if peers.was_used else lonely_until]
        due_at = min((moment for moment in moments if moment is not None), default=None)
        peers.serve(None if due_at is None else max(0.0, due_at - now))
        if signals.child_ended:
            signals.child_ended = False
            attempts.reap()
        if signals.asked_to_stop:
            attempts.stop_all("the runner was told to stop")
        attempts.tick(time.monotonic())
        attempts.start_some(_STARTS_A_TURN)
        peers.tell(attempts.take_news())
        if attempts.is_idle() and (
            signals.asked_to_stop
            or (not peers.is_connected() and (peers.was_used or time.monotonic() >= lonely_until))
        ):
            return


class _Signals:
    """Signals as something that can be waited for together with sockets."""

    def __init__(self) -> None:
        self.child_ended = False
        self.asked_to_stop = False
        self.fd, write_fd = os.pipe()
        for fd in (self.fd, write_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: types.FrameType | None) -> None:
        if number == signal.SIGCHLD:
            self.child_ended = True
        else:
            self.asked_to_stop = True

    def take(self) -> None:
        """Empty the pipe; what happened is in the flags."""
        os.read(self.fd, 4096)


def _arguments(words: list[str]) -> tuple[str, str]:
    options = dict(zip(words[::2], words[1::2], strict=True))
    return os.path.abspath(options["--folder"]), options.get("--confinement", "auto")


def _lock(folder: str) -> int | None:
    """Take the folder's lock for as long as this process lives; None when another has it."""
    fd = os.open(f"{folder}/{wire.LOCK_NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline or _is_served(folder):
                os.close(fd)
                return None
            time.sleep(0.02)
        else:
            return fd


def _is_served(folder: str) -> bool:
    """Whether the one that has the lock listens; it takes its socket away before it goes."""
    return os.path.exists(f"{folder}/{wire.SOCKET_NAME}")


def _remove_socket(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # somebody removed the folder
        os.unlink(f"{folder}/{wire.SOCKET_NAME}")


def _redirect_output(folder: str) -> None:
    path = f"{folder}/{wire.LOG_NAME}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(path, flags, 0o600)
    if os.fstat(log).st_size > _LOG_LIMIT_BYTES:
        os.ftruncate(log, 0)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    # The server's pipes are closed now, so it goes on; stdin is /dev/null already.


def _log(line: str) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):  # a full disk is no reason to end what runs
        os.write(
            sys.stderr.fileno(),
            f"at={moment} runner={os.getpid()} {line}\n".encode(errors="replace"),
        )


if __name__ == "__main__":
    main()
