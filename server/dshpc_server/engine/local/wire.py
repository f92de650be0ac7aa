"""What server and runner say to each other: one JSON value a line, over a unix socket.

The server sends `Order`s, the runner answers with `News`. The facts on the wire are the records
in an attempt's `exit.json`. Standard library only: the runner imports this.
"""

import json
from typing import Any, TypedDict

VERSION = 1
"""Rises when an older runner would misunderstand a newer server, or the other way round."""

LINE_LIMIT_BYTES = 16 * 2**20
"""A launch carries at most 1 MiB of parameters; JSON in JSON at most sextuples them."""

SOCKET_NAME = "runner.sock"
LOCK_NAME = "runner.lock"
LOG_NAME = "runner.log"
SPARES_NAME = "spares"


class Job(TypedDict):
    """An attempt as the runner starts it."""

    name: str
    folder: str
    argv: list[str]
    cwd: str
    env: dict[str, str]
    params: str
    memory_bytes: int
    timeout_seconds: float


class Adoption(TypedDict):
    """An attempt of an earlier server."""

    name: str
    folder: str


class Order(TypedDict, total=False):
    """What the server asks for; exactly one key is given."""

    launch: Job
    adopt: list[Adoption]
    cancel: list[str]


class Fact(TypedDict, total=False):
    """What happened to an attempt. `fact` is started, exited, not_started or lost."""

    fact: str
    name: str
    at: float
    pid: int
    started_at: float
    exit_code: int | None
    signal: int | None
    cause: str
    reason: str


class Hello(TypedDict):
    """The runner's first words on a connection."""

    version: int
    pid: int
    confinement: str


class News(TypedDict, total=False):
    """What the runner tells; exactly one key is given."""

    hello: Hello
    facts: list[Fact]


def line(message: Order | News) -> bytes:
    """Encode one message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse_order(text: bytes) -> Order:
    """Decode one line of the server's. Raises ValueError when it is none."""
    return _object(text)  # type: ignore[return-value]  # both ends are of one VERSION


def parse_news(text: bytes) -> News:
    """Decode one line of the runner's. Raises ValueError when it is none."""
    return _object(text)  # type: ignore[return-value]  # both ends are of one VERSION


def _object(text: bytes) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - json's own errors are ValueErrors
    return value
