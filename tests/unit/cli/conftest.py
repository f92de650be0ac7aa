"""A fake server, the command that talks to it, and a batch."""

from support.client_fixtures import grpc_retries_at_once
from support.command_fixtures import batch, dshpc, service

__all__ = ["batch", "dshpc", "grpc_retries_at_once", "service"]
