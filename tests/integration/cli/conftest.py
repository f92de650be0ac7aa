"""A fake and a real server, the command that talks to them, and a batch."""

from support.command_fixtures import batch, dshpc, real, real_server, service

__all__ = ["batch", "dshpc", "real", "real_server", "service"]
