"""Runs one of Slurm's commands and returns what it said.

Promise: the command is killed with its whole group when its time is up and when whoever asked is
cancelled; it is waited for, and what it says is bounded.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable, Mapping, Sequence

_OUTPUT, _COMPLAINTS = 1, 2
_MAX_OUTPUT_BYTES = 256 * 1024 * 1024  # a line of squeue takes 60: four million tasks
_MAX_COMPLAINT_BYTES = 64 * 1024
_KILLED_SECONDS = 5.0
"""How long to wait for one that was killed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command said."""

    exit_code: int | None
    """None when it did not end in time, or who it left behind holds its output: what it said may
    not be all. Negative: it was ended by that signal."""
    output: bytes
    complaints: bytes
    seconds: float
    """Until it was gone, counted from before it was started."""


async def hold(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    patience_seconds: float,
    is_hopeless: Callable[[bytes], bool] = lambda _: False,
) -> Answer:
    """Run a command to its end, for so long at most, and return what it said.

    It is killed early when what it complains of is hopeless. Raises OSError when it cannot be run.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    talker = _Talker(is_hopeless)
    starting = asyncio.create_task(_start(words, environment, talker))
    try:
        transport = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Broken off halfway, the start would leave the process behind.
        with contextlib.suppress(OSError):
            await _end(await starting, talker)
        raise
    is_whole = False
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await talker.is_enough.wait()
        is_whole = talker.is_over.is_set()
    finally:
        await _end(transport, talker)
    return Answer(
        exit_code=transport.get_returncode() if is_whole else None,
        output=bytes(talker.said[_OUTPUT]),
        complaints=bytes(talker.said[_COMPLAINTS]),
        seconds=loop.time() - begun,
    )


async def _start(
    words: Sequence[str], environment: Mapping[str, str], talker: "_Talker"
) -> asyncio.SubprocessTransport:
    transport, _ = await asyncio.get_running_loop().subprocess_exec(
        lambda: talker,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    return transport


class _Talker(asyncio.SubprocessProtocol):
    """Listens to a command."""

    def __init__(self, is_hopeless: Callable[[bytes], bool]) -> None:
        self._is_hopeless = is_hopeless
        self.said = {_OUTPUT: bytearray(), _COMPLAINTS: bytearray()}
        self.is_over = asyncio.Event()
        """It is gone, and so is all that it said."""
        self.is_enough = asyncio.Event()
        """There is nothing to wait for: it is over, hopeless, or says too much."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.said[fd] += data
        is_too_much = (
            len(self.said[_OUTPUT]) > _MAX_OUTPUT_BYTES
            or len(self.said[_COMPLAINTS]) > _MAX_COMPLAINT_BYTES
        )
        if is_too_much or (fd == _COMPLAINTS and self._is_hopeless(bytes(self.said[fd]))):
            self.is_enough.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.is_over.set()
        self.is_enough.set()


async def _end(transport: asyncio.SubprocessTransport, talker: _Talker) -> None:
    """See to it that nothing of the command is left."""
    try:
        if transport.get_returncode() is None:
            # It leads its group, and is not waited for yet: the number is its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILLED_SECONDS):
                    await talker.is_over.wait()
    finally:
        transport.close()
