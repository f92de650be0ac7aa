"""The command line of the server: `dshpc-server serve`, `check` and `migrate`."""

import argparse
import asyncio
import os
import pathlib
import signal
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

# Children never fork from this process (the runner does that), but a library might.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Means "read the methods again", which the start does anyway: it must not end it.
signal.signal(signal.SIGHUP, signal.SIG_IGN)

import dshpc  # noqa: E402 - it brings gRPC, which reads the variable as it loads
from dshpc_server import config, errors, logs  # noqa: E402 - after the signal, too

EXIT_PROBLEMS = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = _parser()
    parsed = vars(parser.parse_args(arguments))
    command = parsed.pop("command")
    own = {name: parsed.pop(name) for name in _OWN[command]}
    if own.get("node_is_gone") and not own["repair"]:
        parser.error("--node-is-gone changes the store: it goes with --repair")
    try:
        settings = config.load(parsed.pop("config"), parsed)
        logs.configure(level=settings.log_level, format=settings.log_format)
        return _run(command, settings, own)
    except (config.ConfigError, errors.DshpcError) as error:
        # A database may say it in several lines.
        said = " ".join(line.strip() for line in str(error).splitlines())
        sys.stderr.write(f"dshpc-server: {said}\n")
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return 130


_OWN = {"serve": (), "check": ("format", "repair", "node_is_gone"), "migrate": ()}
"""What a command is told besides the settings."""


def _run(command: str, settings: config.Settings, own: Mapping[str, Any]) -> int:
    # Each takes a second to load, or half of one.
    if command == "serve":
        from dshpc_server import app  # noqa: PLC0415 - only where it is used

        try:
            asyncio.run(app.serve(settings))
        except PermissionError as error:  # what somebody else has made in the data folder
            raise config.ConfigError(f"serve cannot go on: {error}") from error
        return 0
    from dshpc_server import maintenance  # noqa: PLC0415 - only where it is used

    try:
        if command == "migrate":
            maintenance.run_migrate(settings)
            return 0
        if own["repair"]:
            is_right = maintenance.run_repair(settings, own["format"], own["node_is_gone"])
        else:
            is_right = maintenance.run_check(settings, own["format"])
    except OSError as error:  # a folder that may not be read, a disk that fails
        raise config.ConfigError(f"{command} cannot go on: {error}") from error
    return 0 if is_right else EXIT_PROBLEMS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dshpc-server", description="The dshpc server.")
    parser.add_argument("--version", action="version", version=f"dshpc-server {dshpc.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_command(
        commands,
        "serve",
        "serve until SIGTERM or Ctrl-C",
        "Serve until SIGTERM or Ctrl-C.",
    )
    check = _add_command(
        commands,
        "check",
        "look the data over",
        "Look the store, the files, the attempts and the methods over, while servers use them or "
        "not, and say what is wrong. Exit code 0: nothing, 1: something.",
    )
    check.add_argument(
        "--format", choices=["text", "json"], default="text", help="lines of text, or of JSON"
    )
    check.add_argument(
        "--repair",
        action="store_true",
        help="put right what can be put right safely; no server may use the store",
    )
    check.add_argument(
        "--node-is-gone",
        metavar="NODE",
        action="append",
        default=[],
        help="with --repair: nothing runs on this node any more, so end what its servers had",
    )
    _add_command(
        commands,
        "migrate",
        "bring the store up to date",
        "Bring a store of an older version up to date, as a server that starts does.",
    )
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    """Add a command that takes every setting."""
    command = commands.add_parser(
        name,
        help=summary,
        allow_abbrev=False,  # a shortened name would change its meaning with the next setting
        description=f"{description} Every option that is a setting is also a key of the TOML file "
        "and an environment variable DSHPC_NAME.",
    )
    command.add_argument("--config", type=pathlib.Path, metavar="FILE.toml", help="settings file")
    for key, field in config.Settings.model_fields.items():
        flag, told = f"--{key.replace('_', '-')}", (field.description or "").replace("%", "%%")
        if field.annotation is bool:
            command.add_argument(flag, action=argparse.BooleanOptionalAction, help=told)
        else:
            command.add_argument(flag, metavar=_metavar(field.annotation), help=told)
    return command


def _metavar(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    names = {int: "N", float: "SECONDS", pathlib.Path: "DIR", str: "TEXT"}
    if isinstance(annotation, type | types.GenericAlias):
        return names.get(typing.cast("type", annotation), "VALUE")
    return "VALUE"


if __name__ == "__main__":
    sys.exit(main())
