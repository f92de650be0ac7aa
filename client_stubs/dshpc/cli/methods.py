"""`dshpc methods`: show what can be run."""

import json
import sys
from collections.abc import Sequence

from rich import console

from dshpc.cli import listing, terminal, words
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.v1 import method_service_pb2

_MOST_NAMES = 8
_NAMES_OF_MANY = 3


def list_all(client: Client, output: Output) -> None:
    """Write the newest version of every method."""
    table = terminal.new_table("method", "version", "inputs", "parameters", "description")
    for method in client.methods():
        if output is Output.JSON:
            terminal.json_line(terminal.as_json(method))
            continue
        cells = (
            method.method_name,
            method.version,
            _listed(method.inputs),
            _listed([parameter.name for parameter in method.parameters]),
            method.description,
        )
        table.add_row(*(terminal.shown(cell) for cell in cells))
    if output is Output.TABLE:
        terminal.console_on(sys.stdout).print(table)


def show(client: Client, name: str, output: Output, *, function_hash: str = "") -> None:
    """Write one version of a method with its parameters, and all its versions."""
    answer = client.method(name, function_hash=function_hash)
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(answer))
        return
    out = terminal.console_on(sys.stdout)
    method = answer.method
    out.print(terminal.shown(f"{method.method_name} {method.version}".strip(), style="bold"))
    if function_hash:
        out.print(terminal.shown(f"function_hash: {method.function_hash}"), soft_wrap=True)
    if method.description:
        out.print(terminal.shown(method.description))
    out.print(terminal.shown(f"inputs: {', '.join(method.inputs) or 'none'}"))
    _print_parameters(out, method)
    out.print()
    versions = answer.versions or [method]
    listing.show(("function_hash", "version", "loaded", ""), [_version(v) for v in versions])


def _listed(names: Sequence[str]) -> str:
    """Return names for a cell: of many the first ones, and how many there are."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES_OF_MANY])}, … ({len(names)})"


def _version(method: method_service_pb2.Method) -> listing.Row:
    active = listing.Cell(text="active" if method.active else "", style="green")
    return method.function_hash, method.version, words.moment(method, "create_time"), active


def _print_parameters(out: console.Console, method: method_service_pb2.Method) -> None:
    if not method.parameters:
        out.print("parameters: any")
        return
    out.print()
    table = terminal.new_table("parameter", "type", "required", "default", "description")
    for parameter in method.parameters:
        default = ""
        if parameter.HasField("default_value"):
            default = json.dumps(terminal.plain_value(parameter.default_value), ensure_ascii=False)
        required = "yes" if parameter.required else "no"
        cells = (parameter.name, parameter.type, required, default, parameter.description)
        table.add_row(*(terminal.shown(cell) for cell in cells))
    out.print(table)
