"""What server and runner say to each other: one JSON value a line, over a unix socket.

The server sends `Order`s, the runner answers with `News`. The facts on the wire are the records
in an attempt's `exit.json`. What does not look as it should is told apart here and counts for
nothing, whoever wrote it. Standard library only: the runner imports this.
"""

import json
from collections.abc import Mapping
from typing import Any, TypedDict, TypeGuard

from dshpc_server.engine import forms

VERSION = 1
"""Rises when an older runner would misunderstand a newer server, or the other way round."""

LINE_LIMIT_BYTES = 16 * 2**20
"""A launch carries at most 1 MiB of parameters; JSON in JSON at most sextuples them."""

SOCKET_NAME = "runner.sock"
LOCK_NAME = "runner.lock"
LOG_NAME = "runner.log"
SPARES_NAME = "spares"

CAUSES = frozenset({"NONE", "OVER_TIME", "OVER_MEMORY", "CANCELLED"})
"""The words of `port.Cause` that a runner has; it does not import them."""

MOST_PIDS = 2**22
"""Linux numbers no process higher."""


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
    """An attempt of an earlier server, or one that an earlier runner started."""

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
    is_permanent: bool
    cpu_seconds: float | None
    peak_memory_bytes: int | None


class Hello(TypedDict):
    """The runner's first words on a connection."""

    version: int
    pid: int
    confinement: str


class News(TypedDict, total=False):
    """What the runner tells; exactly one key is given."""

    hello: Hello
    facts: list[Fact]


_JOB: Mapping[str, forms.Check] = {
    "name": forms.is_name,
    "folder": forms.is_path,
    "argv": lambda value: bool(value) and forms.is_list_of(forms.is_text)(value),
    "cwd": forms.is_path,
    "env": forms.is_environment,
    "params": forms.is_text,
    "memory_bytes": forms.is_whole(0, 2**63 - 1),
    "timeout_seconds": forms.is_seconds,
}
_ADOPTION: Mapping[str, forms.Check] = {"name": forms.is_name, "folder": forms.is_path}
_ORDERS: Mapping[str, forms.Check] = {
    "launch": lambda value: forms.has_fields(value, _JOB),
    "adopt": forms.is_list_of(lambda value: forms.has_fields(value, _ADOPTION)),
    "cancel": forms.is_list_of(forms.is_name),
}
_HELLO: Mapping[str, forms.Check] = {
    "version": forms.is_whole(0, 2**31 - 1),
    "pid": forms.is_whole(1, MOST_PIDS),
    "confinement": forms.is_text,
}
_ANY_FACT: Mapping[str, forms.Check] = {"name": forms.is_name, "at": forms.is_seconds}
_FACTS: Mapping[str, Mapping[str, forms.Check]] = {
    "started": {**_ANY_FACT, "pid": forms.is_whole(1, MOST_PIDS)},
    "exited": {
        **_ANY_FACT,
        "pid": forms.is_whole(0, MOST_PIDS),  # 0 when it was cancelled before it was started
        "started_at": forms.is_seconds,
        "exit_code": forms.is_null_or(forms.is_whole(0, 255)),
        "signal": forms.is_null_or(forms.is_whole(1, 64)),
        "cause": lambda value: isinstance(value, str) and value in CAUSES,
    },
    "not_started": {**_ANY_FACT, "reason": forms.is_text},
    "lost": {**_ANY_FACT, "reason": forms.is_text},
}
_LATER: Mapping[str, forms.Check] = {
    "cpu_seconds": forms.is_null_or(forms.is_seconds),
    "peak_memory_bytes": forms.is_null_or(forms.is_whole(0, 2**63 - 1)),
}
"""What runners before this one did not tell of an exit."""


def line(message: Order | News) -> bytes:
    """Encode one message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse(text: bytes) -> dict[str, Any]:
    """Decode one JSON object. Raises ValueError when it is none."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - json's own errors are ValueErrors
    return value


def is_order(value: Mapping[str, object]) -> TypeGuard[Order]:
    """Whether it asks for exactly one thing, in full."""
    return len(value) == 1 and all(
        name in _ORDERS and _ORDERS[name](asked) for name, asked in value.items()
    )


def is_hello(value: object) -> TypeGuard[Hello]:
    """Whether it is what a runner says first."""
    return forms.has_fields(value, _HELLO)


def is_fact(value: object) -> TypeGuard[Fact]:
    """Whether it tells one thing about one attempt, in full."""
    kind = value.get("fact") if isinstance(value, dict) else None
    checks = _FACTS.get(kind) if isinstance(kind, str) else None
    if checks is None or not isinstance(value, dict) or not forms.has_fields(value, checks):
        return False
    return kind != "exited" or _is_exit(value)


def is_end(value: object) -> TypeGuard[Fact]:
    """Whether it tells how one attempt ended."""
    return is_fact(value) and value["fact"] != "started"


def _is_exit(value: Mapping[str, object]) -> bool:
    """Whether what an exit tells goes together, and what not all runners tell is in form."""
    is_one_of_both = (value["exit_code"] is None) != (value["signal"] is None)
    return is_one_of_both and all(
        check(value[name]) for name, check in _LATER.items() if name in value
    )
