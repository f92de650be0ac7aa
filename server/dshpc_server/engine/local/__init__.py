"""The local engine: runs attempts on this machine, through a runner that outlives the server.

`engine` is the adapter in the server; `connection` finds or starts the runner; `wire` is what they
say to each other. The rest is the runner: one small process of the standard library alone.
"""
