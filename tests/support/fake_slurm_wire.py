"""How the pretended programs ask the fake controller: the program's text, and the messages.

A message is four bytes of length and a marshalled tuple. A program sends one request and gets
answers (what to print on stdout, on stderr, and its exit code or None for "more to come"). It is
a few lines of Python that import only what is built in: it starts in a few milliseconds.
"""

import asyncio
import dataclasses
import marshal
import pathlib
import sys

PROGRAMS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
SOCKET = "socket"
_LENGTH_BYTES = 4

_PROGRAM = '''\
#!{python} -SEI
"""Asks the fake controller, prints its answer."""
import _socket, marshal, posix, sys

def whole(size):
    got = b""
    while len(got) < size:
        more = link.recv(size - len(got))
        if not more:
            lost()
        got += more
    return got

def lost():
    sys.exit("{name}: error: Unable to contact slurm controller (connect failure)")

request = marshal.dumps(({name!r}, sys.argv[1:], posix.getcwd(), posix.environ), 2)
posix.chdir({folder!r})
link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
try:
    link.connect({socket!r})
    link.sendall(len(request).to_bytes({length}, "big") + request)
    while True:
        out, error, code = marshal.loads(whole(int.from_bytes(whole({length}), "big")))
        sys.stdout.write(out)
        sys.stderr.write(error)
        sys.stderr.flush()
        if code is not None:
            break
except OSError:
    lost()
sys.stdout.flush()
sys.exit(code)
'''


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One call of one program."""

    program: str
    words: list[str]
    folder: pathlib.Path
    """Where it was called."""
    environment: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a program prints, and how it ends; without a code, it waits for more."""

    out: str = ""
    error: str = ""
    code: int | None = 0


def write_program(folder: pathlib.Path, name: str) -> None:
    """Make one of the programs in `folder/bin`."""
    text = _PROGRAM.format(
        # The interpreter itself: one of a virtual environment has more to look for.
        python=getattr(sys, "_base_executable", sys.executable),
        name=name,
        folder=str(folder),
        socket=SOCKET,
        length=_LENGTH_BYTES,
    )
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Raises IncompleteReadError for a program that has gone already."""
    size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    program, words, folder, environment = marshal.loads(await reader.readexactly(size))
    return Request(
        program,
        words,
        pathlib.Path(folder),
        {_text(name): _text(value) for name, value in environment.items()},
    )


async def write_answer(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Raises ConnectionError for a program that has gone."""
    body = marshal.dumps((answer.out, answer.error, answer.code), 2)
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    await writer.drain()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
