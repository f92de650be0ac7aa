"""`dshpc server`: show what the server is."""

from dshpc.cli import terminal
from dshpc.cli.terminal import Output
from dshpc.client import Client


def info(client: Client, output: Output) -> None:
    """Write the server's description."""
    found = client.server_info()
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(found))
        return
    limits = {f"limits.{field.name}": str(value) for field, value in found.limits.ListFields()}
    terminal.print_pairs(
        {
            "server": client.target,
            "version": found.version,
            "engine": found.engine,
            "store": found.store,
            "slots": str(found.slots),
            "features": ", ".join(found.features),
            **limits,
        }
    )
