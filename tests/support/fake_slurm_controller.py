"""The fake controller: the process that a fake Slurm is, run as a module.

It listens on a Unix socket in its folder for the pretended programs, and on an inherited socket
for the test that started it. When the test's end of that closes, it ends everything that it has
started, and itself.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import sys
from typing import Any

from support import fake_slurm_faults as faults_
from support import fake_slurm_jobs as jobs
from support import fake_slurm_processes as processes
from support import fake_slurm_programs as programs_
from support import fake_slurm_scheduler as scheduler
from support import fake_slurm_settings as settings_
from support import fake_slurm_wire as wire

_LONGEST_LINE_BYTES = 2**26


class Controller:
    """What one run of the process has."""

    def __init__(self, folder: pathlib.Path, settings: settings_.Settings) -> None:
        book = jobs.Book()
        self._tasks = scheduler.Scheduler(settings, book)
        self._faults = faults_.Faults(settings, book, self._tasks)
        self._programs = programs_.Programs(
            settings, book, self._tasks, self._faults, folder / "spool"
        )
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self, test: socket.socket) -> None:
        """Serve until the test has gone."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._tasks.processes.reap)
        server = await asyncio.start_unix_server(self._serve, wire.SOCKET, backlog=1000)
        try:
            await self._serve_test(test)
        finally:
            server.close()
            for answering in self._answering:
                answering.cancel()
            self._tasks.is_held = True
            self._tasks.processes.kill_all()

    async def _serve_test(self, test: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=test, limit=_LONGEST_LINE_BYTES)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(self._answer_test(json.loads(line)))
                await writer.drain()
        writer.close()

    def _answer_test(self, question: dict[str, Any]) -> bytes:
        try:
            answer = {"value": self._faults.ask(question["method"], question["arguments"])}
        except ValueError as error:
            answer = {"error": str(error)}
        return json.dumps(answer).encode() + b"\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering = asyncio.ensure_future(self._answer(reader, writer))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await answering
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await wire.read_request(reader)
            answering = asyncio.ensure_future(self._answer_all(request, writer))
            gone = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
                if answering.done():
                    await answering
            finally:
                answering.cancel()
                gone.cancel()

    async def _answer_all(self, request: wire.Request, writer: asyncio.StreamWriter) -> None:
        async with contextlib.aclosing(self._programs.answers(request)) as answers:
            async for answer in answers:
                await wire.write_answer(writer, answer)


def main() -> None:
    """FOLDER SETTINGS DESCRIPTOR."""
    folder, settings, descriptor = sys.argv[1:]
    os.chdir(folder)
    processes.adopt_orphans()
    test = socket.socket(fileno=int(descriptor))
    controller = Controller(pathlib.Path(folder), settings_.Settings(**json.loads(settings)))
    asyncio.run(controller.run(test))


if __name__ == "__main__":
    main()
