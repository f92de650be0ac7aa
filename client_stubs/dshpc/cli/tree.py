"""What every command shares: the form of the tree, the option --output, and the client."""

import os
from typing import Annotated

import typer

from dshpc import client
from dshpc.cli.terminal import Output

MAX_NUMBER = 2**31 - 1
"""What the contract's numbers hold."""
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, or JSON lines for programs.")
]
LimitOption = Annotated[
    int,
    typer.Option("--limit", "-n", metavar="N", min=1, max=MAX_NUMBER, help="Show at most so many."),
]

StatusOption = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        "-s",
        metavar="STATUS",
        help="Only jobs with this status; may be given several times, or as A,B. IN_PROGRESS "
        "stands for all that have not ended.",
    ),
]

DEFAULT_SERVER = "127.0.0.1:50051"
SERVER_VARIABLE = "DSHPC_SERVER"
LISTED_ROWS = 50
"""Rows of a list, unless --limit says otherwise."""


def new(text: str) -> typer.Typer:
    """Return a tree of commands without any."""
    # Without rich's markup the help is plain text, on a terminal and off it.
    return typer.Typer(
        help=text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def client_of(context: typer.Context) -> client.Client:
    """Return the client that the command talks through."""
    found = context.obj
    if not isinstance(found, client.Client):
        raise TypeError("the callback of the tree opens the client")
    return found


def command_line(target: str, *words: str) -> str:
    """Return a command as a person would type it to talk to the same server."""
    is_understood = target == os.environ.get(SERVER_VARIABLE, DEFAULT_SERVER)
    return " ".join(["dshpc", *([] if is_understood else ["--server", target]), *words])
