"""dshpc for clients: the generated contract, a client library and the `dshpc` command."""

__version__ = "0.1.0"
