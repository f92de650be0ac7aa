"""Finds the runner of a folder, or starts one, and speaks with it."""

import asyncio
import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

from dshpc_server.engine.local import wire

_START_SECONDS = 30.0
_HELLO_SECONDS = 30.0


class RunnerError(Exception):
    """There is no runner to speak with now."""


class Connection:
    """An open connection; the runner has said hello."""

    def __init__(self, hello: wire.Hello, streams: "_Streams") -> None:
        self.hello = hello
        self._reader, self._writer = streams

    def send(self, orders: Sequence[wire.Order]) -> None:
        """Hand over orders; raises nothing when the runner is gone: `news` ends then."""
        if not self._writer.is_closing():
            self._writer.write(b"".join(wire.line(order) for order in orders))

    async def drain(self) -> None:
        """Wait until the runner has taken most of what was sent, or is gone."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def news(self) -> AsyncIterator[list[object]]:
        """Yield what is told as facts until the runner is gone, or talks no JSON."""
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await self._reader.readline():
                told = wire.parse(line).get("facts")
                yield told if isinstance(told, list) else [told]


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def opened(
    folder: pathlib.Path, *, confinement: str, environment: Mapping[str, str]
) -> AsyncIterator[Connection]:
    """Connect to the folder's runner, which is started if there is none.

    Hanging up ends a runner that has nothing to do.

    Raises RunnerError when that does not succeed.
    """
    try:
        streams = await _connect(folder)
    except OSError:
        await asyncio.to_thread(_start, folder, confinement, environment)
        try:
            streams = await _connect(folder)
        except OSError as error:
            raise RunnerError(f"no connection to the runner ({error.strerror})") from error
    try:
        yield Connection(await _hello(streams[0]), streams)
    finally:
        streams[1].close()
        with contextlib.suppress(ConnectionError):
            await streams[1].wait_closed()


async def _connect(folder: pathlib.Path) -> _Streams:
    # A unix socket's path has 107 bytes at most; a folder's descriptor makes any path short.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = f"/proc/self/fd/{descriptor}/{wire.SOCKET_NAME}"
        return await asyncio.open_unix_connection(path, limit=wire.LINE_LIMIT_BYTES)
    finally:
        os.close(descriptor)


async def _hello(reader: asyncio.StreamReader) -> wire.Hello:
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            hello = wire.parse(await reader.readline()).get("hello")
    except (OSError, ValueError) as error:  # a timeout is an OSError too
        raise RunnerError("the runner does not say hello") from error
    if not wire.is_hello(hello):
        raise RunnerError("the runner says hello in no known form")
    if hello["version"] != wire.VERSION:
        # It ends after its last attempt; the ends are on disk for a runner of our version.
        raise RunnerError(f"the runner speaks version {hello['version']}, not {wire.VERSION}")
    return hello


def _start(folder: pathlib.Path, confinement: str, environment: Mapping[str, str]) -> None:
    """Start a runner and return when it listens. Raises RunnerError."""
    module = "dshpc_server.engine.local.runner"
    words = ["--folder", str(folder), "--confinement", confinement]
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
            [sys.executable, "-P", "-m", module, *words],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=_START_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip().splitlines()
        last = told[-1] if told else "it told nothing"
        raise RunnerError(f"the runner left with code {error.returncode}: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunnerError(f"the runner could not be started ({error})") from error
