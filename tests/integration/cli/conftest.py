"""A fake server, the command that talks to it, and a batch."""

from support.command_fixtures import batch, dshpc, service

__all__ = ["batch", "dshpc", "service"]
