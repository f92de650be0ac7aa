"""The command line of the server: `dshpc-server serve`."""

import argparse
import asyncio
import os
import pathlib
import signal
import sys
import types
import typing
from collections.abc import Sequence

# Children never fork from this process (the runner does that), but a library might.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# Means "read the methods again", which the start does anyway: it must not end it.
signal.signal(signal.SIGHUP, signal.SIG_IGN)

import dshpc  # noqa: E402 - see above
from dshpc_server import app, config, errors, logs  # noqa: E402 - takes a second, see above

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parsed = vars(_parser().parse_args(arguments))
    parsed.pop("command")
    try:
        settings = config.load(parsed.pop("config"), parsed)
        logs.configure(level=settings.log_level, format=settings.log_format)
        asyncio.run(app.serve(settings))
    except (config.ConfigError, errors.DshpcError) as error:
        sys.stderr.write(f"dshpc-server: {error}\n")
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dshpc-server", description="The dshpc server.")
    parser.add_argument("--version", action="version", version=f"dshpc-server {dshpc.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="serve until SIGTERM or Ctrl-C",
        allow_abbrev=False,  # a shortened name would change its meaning with the next setting
        description="Serve until SIGTERM or Ctrl-C. Every option is also a key of the TOML file "
        "and an environment variable DSHPC_NAME.",
    )
    serve.add_argument("--config", type=pathlib.Path, metavar="FILE.toml", help="settings file")
    for name, field in config.Settings.model_fields.items():
        flag, told = f"--{name.replace('_', '-')}", (field.description or "").replace("%", "%%")
        if field.annotation is bool:
            serve.add_argument(flag, action=argparse.BooleanOptionalAction, help=told)
        else:
            serve.add_argument(flag, metavar=_metavar(field.annotation), help=told)
    return parser


def _metavar(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(typing.get_args(annotation))
    names = {int: "N", float: "SECONDS", pathlib.Path: "DIR", str: "TEXT"}
    if isinstance(annotation, type | types.GenericAlias):
        return names.get(typing.cast("type", annotation), "VALUE")
    return "VALUE"


if __name__ == "__main__":
    sys.exit(main())
