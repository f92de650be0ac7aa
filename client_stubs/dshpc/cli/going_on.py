"""What is said when a run ends before its jobs: how to get their results, how to stop them."""

from dshpc.cli import tree
from dshpc.cli.batch import Batch
from dshpc.cli.policies import Cache

_RUN_ANEW = frozenset({Cache.REFRESH, Cache.BYPASS})


def results(batch: Batch, batch_id: str, *, target: str) -> str:
    """Return how to get the results of a batch whose jobs go on at the server."""
    if _RUN_ANEW & {batch.cache, *(row.cache for row in batch.rows)}:
        # The same command would run again what has completed meanwhile.
        command = tree.command_line(target, "batch", "results", batch_id)
        return f"'{command}' shows their results"
    return "the same command again gets their results"


def stop(batch_id: str, *, target: str) -> str:
    """Return how to stop the jobs of a batch."""
    return f"'{tree.command_line(target, 'job', 'cancel', '--batch', batch_id)}' stops them"
