"""Ask about several tables at the same time with asyncio, and give up on what takes too long.

python examples/clients/concurrently.py [HOST:PORT]
"""
# ruff: noqa: T201 - what it prints is what it is for

import asyncio
import pathlib
import sys

from dshpc import client
from dshpc.v1 import types_pb2

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"
PATIENCE_SECONDS = 60


async def main(target: str = "127.0.0.1:50051") -> None:
    """Run one batch a table, all at once."""
    async with client.AsyncClient(target) as dshpc, asyncio.TaskGroup() as tasks:
        for name in ("iris.csv", "wine.csv", "longley.csv"):
            tasks.create_task(described(dshpc, DATA / name))


async def described(dshpc: client.AsyncClient, table: pathlib.Path) -> None:
    """Upload one table and print what is known of it."""
    file_hash = await dshpc.upload(table)
    methods = ("column_summary", "missing_values")
    configs = [types_pb2.JobConfig(method_name=name, file_hash=file_hash) for name in methods]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), dshpc.run_each(configs) as batch:
            async for row in batch:
                print(f"{table.name}: {row.method_name}: {row.output_size_bytes} bytes")
    except TimeoutError:
        # The stream has ended; the jobs go on, and the next who asks gets what they find.
        print(f"{table.name}: not yet")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
